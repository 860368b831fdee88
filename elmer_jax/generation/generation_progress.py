# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Progress of a generation on standard error."""

import os
import stat
import sys
import time
from typing import TextIO

from absl import logging

from elmer_jax.core.wording import count_of, format_duration

_BAR = 24  # characters
_SECONDS = {"terminal": 0.5, "log": 10.0}  # between two updates


class GenerationProgress:
  """A bar on a terminal, log lines elsewhere, and the throughput at the end.

  The share done is that of the bytes read from a file; it is unknown for a pipe.
  """

  def __init__(self, source: TextIO):
    self._source = source
    self._is_terminal = sys.stderr.isatty()
    self._pause = _SECONDS["terminal" if self._is_terminal else "log"]
    self._start = self._last = time.monotonic()
    self._texts = self._tokens = 0

  def add(self, tokens: int) -> None:
    """Counts a text of `tokens` tokens."""
    self._texts += 1
    self._tokens += tokens
    now = time.monotonic()
    if now - self._last < self._pause:
      return
    self._last = now
    line = self._line(now - self._start)
    if self._is_terminal:
      print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)
    else:
      logging.info("%s", line)

  def end(self) -> None:
    """Logs the throughput, compilation included."""
    if self._is_terminal:
      print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    seconds = time.monotonic() - self._start
    logging.info(
      "%s, %s in %.1f s (%.1f texts/s, %.1f tokens/s)",
      count_of(self._texts, "text"),
      count_of(self._tokens, "token"),
      seconds,
      self._texts / seconds,
      self._tokens / seconds,
    )

  def _line(self, seconds: float) -> str:
    rate = f"{count_of(self._texts, 'text')}, {self._texts / seconds:.1f} texts/s"
    share = self._share()
    if not share:
      return rate
    left = seconds * (1 - share) / share
    bar = ("#" * round(share * _BAR)).ljust(_BAR, ".")
    return f"[{bar}] {share:4.0%}, {rate}, about {format_duration(left)} left"

  def _share(self) -> float | None:
    """Returns the share of the source that was read; None for a pipe."""
    status = os.fstat(self._source.fileno())
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
      return None
    return min(self._source.buffer.tell() / status.st_size, 1.0)
