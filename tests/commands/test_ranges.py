# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Every number of a configuration has a range, which every command checks first."""

import dataclasses
import math

import ml_collections
import pytest

from elmer_jax import configuration
from elmer_jax.commands.gate_calibration import calibrate
from elmer_jax.commands.resolution import resolve
from elmer_jax.comparison.comparison import Comparison
from elmer_jax.configuration import COMPARISON
from elmer_jax.configuration_ranges import RANGES
from elmer_jax.core.errors import UserError
from elmer_jax.core.ranges import Range
from elmer_jax.model import config as model_config
from elmer_jax.model.config import ModelConfig

DEFAULTS = configuration.flat_keys(configuration.default())
ALL_RANGES = RANGES | {f"model.{k}": v for k, v in model_config.RANGES.items()}
NUMBERS = [
  key
  for key, value in DEFAULTS.items()
  if isinstance(value, (int, float)) and not isinstance(value, bool)
]


def config_with(key: str, value: object) -> ml_collections.ConfigDict:
  config = configuration.default()
  config.update_from_flattened_dict({key: value})
  return config


def test_every_number_has_a_range():
  compared = configuration.flat_keys(configuration.comparison().compare)
  numbers = {f"compare.{key}" for key in compared.keys() - {"rows"}}
  keys = {key for key in RANGES if not key.startswith("compare.")}
  assert {key for key in NUMBERS if not key.startswith("model.")} == keys
  assert RANGES.keys() - keys == numbers
  fields = dataclasses.asdict(ModelConfig())
  sizes = {k for k, v in fields.items() if type(v) in (int, float)}
  assert model_config.RANGES.keys() == sizes


@pytest.mark.parametrize("key", NUMBERS)
def test_numbers_outside_their_range_are_refused(key):
  found = ALL_RANGES[key]
  wrong = [found.least - 1, found.most * 2 + 1, *found.without]
  if isinstance(DEFAULTS[key], float):
    wrong += [math.nan, math.inf, -math.inf]
  else:
    wrong += [10**22, -(10**400)]
  for value in wrong:
    with pytest.raises(UserError, match=rf"^{key} must be from .*; it is"):
      configuration.check(config_with(key, value))


def test_a_range_has_both_ends():
  assert [n in Range(0, 1, without=(1,)) for n in (0, 0.5, 1)] == [True, True, False]
  assert str(Range(-1, 8, without=(0,))) == "from -1 to 8, 0 excluded"


def test_numbers_are_checked_before_anything_is_written(tmp_path):
  own = tmp_path / "own.py"
  own.write_text(
    "from elmer_jax import configuration\n\n\ndef get_config():\n"
    "  c = configuration.default()\n  c.optimizer.eps = float('nan')\n  return c\n"
  )
  run = tmp_path / "run"
  for arguments, message in (
    ([f"--config={own}"], "optimizer.eps must be .*; it is nan"),
    (["--config=quickstart", "--config.train.log_every=0"], "train.log_every must be"),
  ):
    with pytest.raises(UserError, match=message):
      resolve(["elmer", *arguments, f"--workdir={run}"])
  config = configuration.comparison()
  config.finetune.checkpoint.max_to_keep = 0
  with pytest.raises(UserError, match="finetune.checkpoint.max_to_keep must be from 1"):
    Comparison(config, run)
  assert not run.exists()


@pytest.mark.parametrize(
  ("line", "message"),
  [
    ("c.train.steps = True", "train.steps is not of type int"),
    ("c.model.d_model = 2.5", "TypeError.*d_model"),
    ("c.model.scale_embedding = 1", "TypeError.*scale_embedding"),
    ("c.optimizer.name = None", "optimizer.name is not of type str"),
    ("c.optimizer.lr = 1e-5", "optimizer.lr is not a configuration key.*optimizer"),
    ("c.data.task = '../../evil'", "must be the name of a task, without any path"),
  ],
)
def test_values_of_another_type_are_refused(tmp_path, line, message):
  own = tmp_path / "own.py"
  own.write_text(
    "from elmer_jax import configuration\n\n\ndef get_config():\n"
    f"  c = configuration.default()\n  {line}\n  return c\n"
  )
  with pytest.raises(UserError, match=message):
    resolve(["elmer", f"--config={own}", "--workdir=w"])


def test_a_comparison_checks_its_own_numbers(tmp_path):
  config = configuration.comparison()
  config.compare.seeds = (0, -1)
  with pytest.raises(UserError, match="compare.seeds must be from 0 .*; it is -1"):
    Comparison(config, tmp_path)
  with pytest.raises(UserError, match="compare.resamples"):
    arguments = ["elmer", "--config=compare_pydocs", f"--workdir={tmp_path}"]
    resolved = resolve([*arguments, "--config.compare.resamples=1"], schema=COMPARISON)
    Comparison(resolved.config, tmp_path)


@pytest.mark.parametrize("number", [math.nan, -1.0, math.inf])
def test_the_loss_of_a_calibration_has_a_range(number):
  with pytest.raises(UserError, match="--loss must be from 0 to 100 points"):
    calibrate(configuration.default(), "nowhere", loss=number)


@pytest.mark.parametrize(
  "fields", [{"d_model": 2.5}, {"dropout": "0.1"}, {"scale_embedding": 1}, {"norm": 1}]
)
def test_a_model_has_fields_of_their_types(fields):
  [name] = fields
  with pytest.raises(UserError, match=f"model.{name} must be of type"):
    ModelConfig(**fields)
