# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Time accounting: every second of a run counts once, earlier starts included."""

import time

import jax
import jax.numpy as jnp
import pytest

from elmer_jax.core.compile_cache import seconds_compiling
from elmer_jax.training.time_accounting import TimeAccounting


def compile_new_program() -> None:
  """Compiles a program that no cache has."""
  constant = time.monotonic()
  jax.jit(lambda x: jnp.sin(x * constant) @ x.T)(jnp.ones((8, 8)))


def test_every_second_counts_once():
  timers = TimeAccounting()
  time.sleep(0.05)
  timers.end_start()
  with timers.measure("evaluation"):
    compile_new_program()
    time.sleep(0.1)
  time.sleep(0.05)  # training
  seconds, total = timers.seconds_by_kind(), timers.total_seconds
  assert seconds["start"] >= 0.05 and seconds["evaluation"] >= 0.1
  assert seconds["compile"] > 0 and seconds["input"] == seconds["checkpoint"] == 0
  assert sum(seconds.values()) <= total - 0.05


def test_goodput_is_the_share_of_training():
  timers = TimeAccounting()
  spent = {"compile": 30.0, "input": 5.0, "evaluation": 15.0}
  timers.resume({"seconds": 200.0, "spent": spent})
  assert timers.total_seconds >= 200
  assert timers.seconds_by_kind()["compile"] >= 30
  assert timers.metrics()["goodput"] == pytest.approx(0.75, abs=0.01)


def test_nested_traces_count_once():
  inner = jax.jit(lambda x: sum(jnp.sin(x + n) for n in range(50)))
  before, start = seconds_compiling(), time.monotonic()
  jax.jit(lambda x: inner(x) + inner(2 * x))(time.monotonic())
  assert 0 < seconds_compiling() - before <= time.monotonic() - start
