# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A trace of chosen steps, for TensorBoard's profile plugin or xprof."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import ml_collections
from absl import logging

from elmer_jax import configuration


class Profile:
  """Writes WORKDIR/profile while the steps of `config.profile` run."""

  def __init__(
    self, config: ml_collections.ConfigDict, workdir: str, active: bool = True
  ):
    self._steps = configuration.profiled_steps(config) if active else range(0)
    self._folder = str(Path(workdir) / "profile")
    self._runs = False

  @contextlib.contextmanager
  def of(self, step: int, wait: Callable[[], None]) -> Iterator[None]:
    """Surrounds the start of a step; `wait` returns once its work is done."""
    if step not in self._steps:
      yield
      return
    if not self._runs:
      jax.profiler.start_trace(self._folder)
      self._runs = True
    with jax.profiler.StepTraceAnnotation("train", step_num=step):
      yield
    if step == self._steps[-1]:
      wait()
      jax.profiler.stop_trace()
      logging.info("a trace of the steps %s is in %s", self._steps, self._folder)
