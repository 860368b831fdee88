# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A trace of chosen steps, for TensorBoard's profile plugin or XProf."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import ml_collections
from absl import logging

from elmer_jax import configuration


class StepProfiler:
  """Writes WORKDIR/profile for the steps of `config.profile`."""

  def __init__(self, config: ml_collections.ConfigDict, workdir: str, active: bool):
    self._steps = configuration.profiled_steps(config) if active else range(0)
    self._folder = str(Path(workdir) / "profile")
    self._started = False

  @contextlib.contextmanager
  def trace(self, step: int, wait: Callable[[], None]) -> Iterator[None]:
    """Traces the block if `step` is to be profiled; `wait` waits for its results."""
    if step not in self._steps:
      yield
      return
    if not self._started:
      jax.profiler.start_trace(self._folder)
      self._started = True
    with jax.profiler.StepTraceAnnotation("train", step_num=step):
      yield
    if step == self._steps[-1]:
      wait()
      jax.profiler.stop_trace()
      logging.info("trace of steps %s written to %s", self._steps, self._folder)
