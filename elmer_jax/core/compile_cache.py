# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""JAX's persistent compilation cache, and the time spent compiling."""

import os
import time
from pathlib import Path

import jax

# From when to when JAX was tracing, lowering or compiling (or reading what it had
# compiled before), in this process; none overlaps another.
_spans: list[tuple[float, float]] = []


def _record(event: str, seconds: float, **_: object) -> None:
  if not event.startswith("/jax/core/compile/"):
    return
  now = time.monotonic()
  # A function traced inside another ends first: its time is in the outer's.
  while _spans and _spans[-1][0] >= now - seconds:
    _spans.pop()
  _spans.append((now - seconds, now))


jax.monitoring.register_event_duration_secs_listener(_record)


def seconds_compiling() -> float:
  """Returns the seconds that this process has spent tracing and compiling."""
  return sum(end - start for start, end in _spans)


def cache_programs() -> None:
  """Turns on JAX's persistent compilation cache, in the user's cache folder.

  `JAX_COMPILATION_CACHE_DIR` names another folder.
  """
  home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
  if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    jax.config.update("jax_compilation_cache_dir", str(home / "elmer_jax" / "programs"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
