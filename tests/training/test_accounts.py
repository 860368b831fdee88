# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Where the time goes: every second once, over all starts of a run."""

import time

import jax
import jax.numpy as jnp
import pytest
import tiny

from elmer_jax import configuration
from elmer_jax.core.compile_cache import seconds_compiling
from elmer_jax.core.errors import UserError
from elmer_jax.model import flops
from elmer_jax.parallel import chips
from elmer_jax.training import time_accounting


def compile_something() -> None:
  """Compiles what no cache has."""
  constant = time.monotonic()
  jax.jit(lambda x: jnp.sin(x * constant) @ x.T)(jnp.ones((8, 8)))


def test_compiling_is_compiling_wherever_it_happens():
  born = time.monotonic()
  books = time_accounting.Accounts()
  time.sleep(0.1)
  books.end_start()
  starting = time.monotonic() - born
  compiled, begun = seconds_compiling(), time.monotonic()
  with books.spend("evaluation"):
    compile_something()
    time.sleep(0.2)
  inside = time.monotonic() - begun
  compiling = seconds_compiling() - compiled
  time.sleep(0.1)  # training
  # Between two readings of the clock a busy machine may let any time pass, so what
  # was booked is held between what was measured within it and around it.
  before, figures, after = books.seconds, books.figures(), books.seconds
  spent = {kind: figures[f"seconds_{kind}"] for kind in time_accounting.KINDS}
  assert 0 < compiling < inside
  assert spent["compile"] == pytest.approx(compiling)
  assert 0.2 <= spent["evaluation"] <= inside - compiling
  assert 0.1 <= spent["start"] <= starting and spent["input"] == 0
  booked = sum(spent.values())
  assert before - booked >= 0.1
  assert 1 - booked / before <= figures["goodput"] <= 1 - booked / after


def test_earlier_starts_count():
  books = time_accounting.Accounts()
  spent = {"compile": 30.0, "input": 5.0, "evaluation": 15.0}
  books.resume({"seconds": 200.0, "spent": spent})
  assert books.seconds >= 200
  assert books.spent()["compile"] >= 30
  assert books.figures()["goodput"] == pytest.approx(0.75, abs=0.01)


def test_functions_traced_in_functions_count_once():
  inner = jax.jit(lambda x: sum(jnp.sin(x + n) for n in range(50)))
  before, start = seconds_compiling(), time.monotonic()
  jax.jit(lambda x: inner(x) + inner(2 * x))(time.monotonic())
  assert 0 < seconds_compiling() - before <= time.monotonic() - start


def test_utilisation_is_for_known_chips_only(monkeypatch):
  config, sizes = tiny.configure(), tiny.model_config()
  plain = time_accounting.Rates(config, sizes).of(2.0, 800.0)
  assert "mfu" not in plain and "device_memory_peak_gib" not in plain
  monkeypatch.setattr(chips, "of_kind", lambda kind: chips.V4)
  found = time_accounting.Rates(config, sizes).of(2.0, 800.0)
  an_update = 8 * flops.of_example(sizes, "lplm", 16, 12).training
  count = jax.device_count()
  assert found["tokens_per_second_per_chip"] == 800 / count
  assert found["mfu"] == pytest.approx(2 * an_update / count / 275e12)


@pytest.mark.parametrize("steps", ["5:4", "0", "2:7", "a", "1:2:3", "1-2"])
def test_steps_to_profile_must_be_steps(steps):
  config = tiny.configure()
  config.profile = steps
  with pytest.raises(UserError, match="must be steps from 1 to train.steps .6."):
    configuration.check(config)


@pytest.mark.parametrize(("steps", "found"), [("", []), ("6", [6]), ("2:4", [2, 3, 4])])
def test_steps_to_profile_are_inclusive(steps, found):
  config = tiny.configure()
  config.profile = steps
  assert list(configuration.profiled_steps(config)) == found
