# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Time accounting: how the wall time of a run is spent.

Every second counts once: as one of KINDS, or else as training. Compilation counts as
such wherever it happens. The share of training is the goodput. "input" is the time that
the loop waits for a batch; the device may still be busy with the previous step then.

Nothing here waits for the device.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from absl import logging

from elmer_jax.core.atomic_files import write_whole
from elmer_jax.core.compile_cache import seconds_compiling

# start: opening data, initialising or restoring the state. checkpoint: copying the
# state, and waiting at the end until it is written.
KINDS = ("start", "compile", "input", "evaluation", "checkpoint")
FILE = "accounts.json"


class TimeAccounting:
  """The timers of one run, including its earlier starts up to their last checkpoint."""

  def __init__(self):
    self._start, self._compiled = time.monotonic(), seconds_compiling()
    self._seconds = dict.fromkeys(KINDS, 0.0)
    self._earlier_seconds = 0.0

  def resume(self, metadata: dict) -> None:
    """Adds the times in a checkpoint's metadata."""
    self._earlier_seconds = metadata.get("seconds", 0.0)
    for kind, seconds in metadata.get("spent", {}).items():
      self._seconds[kind] += seconds

  @property
  def total_seconds(self) -> float:
    """Wall time of the run, without what earlier starts did after their last save."""
    return self._earlier_seconds + time.monotonic() - self._start

  def end_start(self) -> None:
    """Counts the time until now, without compilation, as "start"."""
    self._add("start", self._start, self._compiled)

  @contextlib.contextmanager
  def measure(self, kind: str) -> Iterator[None]:
    """Counts the time of the block, without compilation, as `kind`."""
    start, compiled = time.monotonic(), seconds_compiling()
    try:
      yield
    finally:
      self._add(kind, start, compiled)

  def _add(self, kind: str, start: float, compiled: float) -> None:
    compiling = seconds_compiling() - compiled
    self._seconds[kind] += time.monotonic() - start - compiling

  def seconds_by_kind(self) -> dict[str, float]:
    """Returns the seconds of each kind so far."""
    compiling = self._seconds["compile"] + seconds_compiling() - self._compiled
    return self._seconds | {"compile": compiling}

  def metrics(self) -> dict[str, float]:
    """Returns the goodput and the seconds of each kind, as metrics."""
    seconds, total = self.seconds_by_kind(), self.total_seconds
    return {
      "goodput": max(total - sum(seconds.values()), 0.0) / max(total, 1e-9),
      **{f"seconds_{kind}": value for kind, value in seconds.items()},
    }

  def write_summary(self, workdir: str, rates: dict[str, float]) -> None:
    """Writes WORKDIR/accounts.json, `rates` included, and logs one line."""
    summary = {"seconds": self.total_seconds} | self.metrics() | rates
    rounded = {name: float(f"{value:.5g}") for name, value in summary.items()}
    write_whole(Path(workdir) / FILE, json.dumps(rounded, indent=2) + "\n")
    total = summary["seconds"]
    shares = [f"{kind} {summary[f'seconds_{kind}'] / total:.1%}" for kind in KINDS]
    if "mfu" in rates:
      shares.append(f"MFU {rates['mfu']:.1%}")
    logging.info(
      "%.0f s: training %.1f%%, %s", total, 100 * summary["goodput"], ", ".join(shares)
    )
