# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Runs stages in order: skips those that are done, estimates the remaining time."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence

from absl import logging

from elmer_jax.core.wording import format_duration


@dataclasses.dataclass(frozen=True)
class Stage:
  """A part of the work.

  Attributes:
    name: for the log.
    kind: stages of one kind take time in proportion to their size.
    size: in any unit of the kind's own.
    is_done: returns whether nothing is left to do.
    do: does it.
    seconds: returns its duration in an earlier start; None if unknown.
  """

  name: str
  kind: str
  size: float
  is_done: Callable[[], bool]
  do: Callable[[], object]
  seconds: Callable[[], float | None] = lambda: None


def run(stages: Sequence[Stage]) -> None:
  """Runs the stages that are not done; logs the remaining time before each."""
  done = [stage.is_done() for stage in stages]
  if all(done):
    logging.info("all %d stages are done already", len(stages))
    return
  if any(done):
    logging.info("%d of %d stages are done already", sum(done), len(stages))
  rates: dict[str, list[float]] = {}

  def record_rate(stage: Stage, seconds: float | None) -> None:
    if seconds:
      rates.setdefault(stage.kind, []).append(seconds / stage.size)

  for stage, is_done in zip(stages, done, strict=True):
    if is_done:
      record_rate(stage, stage.seconds())
  for number, stage in enumerate(stages):
    if done[number]:
      continue
    left = [s for s, is_done in zip(stages, done, strict=True) if not is_done]
    logging.info(
      "stage %d of %d: %s (%s)", number + 1, len(stages), stage.name, _left(left, rates)
    )
    start = time.monotonic()
    stage.do()
    done[number] = True
    record_rate(stage, stage.seconds() or time.monotonic() - start)


def _left(stages: Sequence[Stage], rates: dict[str, list[float]]) -> str:
  known = [stage for stage in stages if stage.kind in rates]
  seconds = sum(s.size * statistics.median(rates[s.kind]) for s in known)
  unknown = len(stages) - len(known)
  if not known:
    return f"{unknown} stages left"
  others = f" and {unknown} stages of unknown length" if unknown else ""
  return f"about {format_duration(seconds)}{others} left"
