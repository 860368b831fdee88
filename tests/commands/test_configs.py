# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Every file in configs/ is usable, and those that belong together fit."""

import runpy
from pathlib import Path

import ml_collections
import pytest

from elmer_jax import configuration, objectives
from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.comparison import variants

FILES = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))


def config_of(path: Path) -> ml_collections.ConfigDict:
  return runpy.run_path(str(path))["get_config"]()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_configuration_is_sound(path):
  config = config_of(path)
  if path.stem.startswith("compare_"):
    parts = [config.pretrain, config.finetune]
    assert config.keys() == configuration.comparison().keys()
  else:
    parts = [config]
  for part in parts:
    configuration.check(part)
    configuration.model_config(part, part.data.vocabulary_size)
    objectives.get(part)
  # A fine-tuning is of pairs; the file's name tells what it is.
  tunes = path.stem.startswith(("finetune_", "compare_"))
  assert (parts[-1].objective.name != "lplm") == tunes


@pytest.mark.parametrize("name", ["finetune_pydocs", "finetune_pairs"])
def test_the_weights_of_the_quickstart_fit_into_the_fine_tunings(name):
  def sizes(name: str) -> dict:
    config = config_of(FILES[0].with_name(f"{name}.py"))
    return orbax_checkpoint.model_sizes(configuration.model_config(config, 4096))

  free = {"dropout", "soft_exit"}
  ours, theirs = sizes(name), sizes("quickstart")
  assert {key for key in ours if ours[key] != theirs[key]} <= free


@pytest.mark.parametrize("name", ["compare_pydocs", "compare_squad_qg"])
def test_the_rows_of_a_comparison_fit_its_pre_training(name):
  config = config_of(FILES[0].with_name(f"{name}.py"))
  assert config.pretrain.model.to_dict() == config.finetune.model.to_dict()
  for variant in variants.VARIANTS.values():
    configured = variants.run_config(variant, config.finetune, 0)
    objectives.get(configured)
    configuration.check(configured)
