# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Latency: what a measurement includes."""

import itertools
import time

from elmer_jax.evaluation import latency


def test_medians_exclude_compilation_and_programs_take_turns():
  order = []

  def program(name: str):
    calls = itertools.count()

    def call():
      order.append(name)
      if next(calls) == 0:
        time.sleep(0.2)  # compiles

    return call

  programs = {name: [program(name) for _ in range(3)] for name in ("a", "b")}
  seconds = latency.median_seconds(programs)
  assert 0 <= seconds["a"] < 0.1 and 0 <= seconds["b"] < 0.1
  assert order[6:] == ["a", "b"] * 3
