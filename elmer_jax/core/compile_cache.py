# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""JAX's persistent compilation cache, and the time spent compiling."""

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path

import jax
from absl import logging

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


def log_compilation(function: Callable, name: str) -> Callable:
  """Returns a jitted function that logs the compilation of its first call.

  Args:
    function: jitted; JAX compiles it during the call, before it computes.
    name: what it is, for the log: "the training step".
  """
  is_first = True

  @functools.wraps(function)
  def call(*args):
    nonlocal is_first
    if not is_first:
      return function(*args)
    is_first = False
    logging.info("compiling %s ...", name)
    before = seconds_compiling()
    result = function(*args)
    logging.info("compiled %s in %.1f s", name, seconds_compiling() - before)
    return result

  return call


def cache_programs(workdir: str | None = None) -> None:
  """Turns on JAX's persistent compilation cache, unless this process has one.

  The environment variable `JAX_COMPILATION_CACHE_DIR` names another folder.

  Args:
    workdir: folder of a run: its programs are kept there, so that a start on another
      machine compiles none. None: the cache folder of the user.
  """
  if jax.config.jax_compilation_cache_dir:
    return
  home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
  folder = Path(workdir) if workdir else home / "elmer_jax"
  jax.config.update("jax_compilation_cache_dir", str((folder / "programs").absolute()))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
