# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A signal to any process of a run stops all of them after the same step."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

import jax
from jax._src import distributed  # the preemption service has no public switch
from jax.experimental import multihost_utils

from elmer_jax.core import signals


def disable_until_deferred() -> None:
  """Keeps JAX from taking SIGTERM when it joins the processes of a run."""
  jax.config.update("jax_enable_preemption_service", False)


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[int], bool]]:
  """Defers signals, so that the block can save before it ends.

  Yields:
    A function of the step: whether to stop after it. Every process calls it after every
    step, and all get the same answer. `signals.Stopped` is raised after the block.
  """
  if jax.process_count() == 1:
    with signals.deferred():
      yield lambda step: signals.received() is not None
    return
  if distributed.global_state.preemption_sync_manager is None:
    # JAX takes over SIGTERM here, and any other notice that the platform gives.
    jax.config.update("jax_enable_preemption_service", True)
    distributed.global_state.initialize_preemption_sync_manager()

  def tell_all(number: int) -> None:
    if number != signal.SIGTERM:
      os.kill(os.getpid(), signal.SIGTERM)

  def should_stop(step: int) -> bool:
    stops = multihost_utils.reached_preemption_sync_point(step)
    if stops:
      signals.note(signal.SIGTERM)
    return stops

  with signals.deferred(tell_all):
    yield should_stop
