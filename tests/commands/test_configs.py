# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Every file in configs/ is valid, and those that belong together fit."""

import pytest

from elmer_jax import configuration, objectives
from elmer_jax.commands import config_files
from elmer_jax.comparison import variants
from elmer_jax.configuration import COMPARISON, RUN
from elmer_jax.training.optimizer import make_optimizer

NAMES = config_files.names()


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_is_valid(name):
  compares = name.startswith("compare_")
  config = config_files.load(name, COMPARISON if compares else RUN)
  runs = [config.pretrain, config.finetune] if compares else [config]
  for run in runs:
    configuration.check(run)
    configuration.model_config(run, run.data.vocabulary_size)
    objectives.get(run)
    make_optimizer(run)
  # A fine-tuning is of pairs.
  assert (runs[-1].objective.name != "lplm") == name.startswith(("finetune_", "comp"))


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("comp")])
def test_the_rows_of_a_comparison_fit_its_pre_training(name):
  config = config_files.load(name, COMPARISON)
  assert config.pretrain.model.to_dict() == config.finetune.model.to_dict()
  for variant in variants.VARIANTS.values():
    configured = variants.run_config(variant, config.finetune, 0)
    objectives.get(configured)
    configuration.check(configured)
