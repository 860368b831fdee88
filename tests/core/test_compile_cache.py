# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Programs are kept in the folder of a run, for starts on any machine."""

import os
import subprocess
import sys

PROGRAM = """
import sys, jax
from elmer_jax.core import compile_cache

events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
compile_cache.cache_programs(sys.argv[1])
jax.jit(lambda x: (x * x).sum())(jax.numpy.arange(3))
print(sum(event.endswith("/cache_misses") for event in events),
      sum(event.endswith("/cache_hits") for event in events))
"""


def test_a_restart_with_another_home_compiles_nothing(tmp_path):
  counts = []
  for home in ("first", "second"):
    (tmp_path / home).mkdir()
    environment = os.environ | {"HOME": str(tmp_path / home)}
    del environment["JAX_COMPILATION_CACHE_DIR"]
    environment.pop("XDG_CACHE_HOME", None)
    done = subprocess.run(
      [sys.executable, "-c", PROGRAM, str(tmp_path / "run")],
      env=environment,
      capture_output=True,
      text=True,
      check=True,
    )
    counts.append([int(count) for count in done.stdout.split()])
    assert not list((tmp_path / home).rglob("*-cache"))
  (misses, none), (again, hits) = counts
  assert misses == hits > 0 and none == again == 0
