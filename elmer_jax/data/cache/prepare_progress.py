# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What `prepare` says while it works, and what it took when it is done."""

import resource
import sys
import time
from collections.abc import Mapping

from absl import logging

_SECONDS_BETWEEN_LINES = 5


class Progress:
  """Says every few seconds how far a cache is; adds up all caches of one start.

  Rates are of what this start has made: shards that an earlier start had finished
  count as done, not as made.
  """

  def __init__(self):
    self._start = time.monotonic()
    self._cpu_start = _cpu_seconds()
    self._made = 0
    self._tokens = 0
    self._positions = 0
    self.begin("", None)

  def begin(self, label: str, size: float | None) -> None:
    """Begins a cache.

    Args:
      label: what its lines begin with.
      size: about how many characters there are to be done, if that is known.
    """
    self._label = label
    self._size = size
    self._cache_start = self._last_line = time.monotonic()
    self._cache_done = {"characters": 0, "tokens": 0}
    self._cache_made = {"characters": 0, "tokens": 0}

  def add(self, note: Mapping, made: bool) -> None:
    """Counts a finished shard, and now and then says how far the cache is.

    Args:
      note: of the shard, with its characters and its tokens.
      made: whether this start has made it.
    """
    counts = {"characters": note["characters"], "tokens": sum(note["tokens"].values())}
    for name, count in counts.items():
      self._cache_done[name] += count
      self._cache_made[name] += count * made
    self._made += counts["tokens"] * made
    now = time.monotonic()
    if now - self._last_line >= _SECONDS_BETWEEN_LINES:
      self._last_line = now
      self._say(now - self._cache_start)

  def _say(self, seconds: float) -> None:
    left = ""
    todo = (self._size or 0) - self._cache_done["characters"]
    if todo > 0 and self._cache_made["characters"]:
      left = f", about {todo * seconds / self._cache_made['characters']:.0f} s left"
    logging.info(
      "%s: %.1f M tokens, %.2f M tokens/s%s",
      self._label,
      self._cache_done["tokens"] / 1e6,
      self._cache_made["tokens"] / seconds / 1e6,
      left,
    )

  def end(self, manifest: Mapping) -> None:
    """Says what a finished cache holds."""
    seconds = time.monotonic() - self._cache_start
    tokens = sum(manifest["tokens"].values())
    positions = manifest["examples"] * sum(manifest["length"].values())
    self._tokens += tokens
    self._positions += positions
    made = self._cache_made["tokens"]
    earlier = (
      f", {(tokens - made) / 1e6:.2f} M of them earlier" if made < tokens else ""
    )
    logging.info(
      "%s: %d examples from %d documents, %.2f M tokens in %.1f s (%.2f M tokens/s)%s, "
      "%.1f %% padding",
      self._label,
      manifest["examples"],
      manifest["documents"],
      tokens / 1e6,
      seconds,
      made / 1e6 / seconds,
      earlier,
      100 * (1 - tokens / positions),
    )
    for feature, number in manifest["cut"].items():
      if number:
        logging.warning(
          "%s: %d of %d texts of feature %s are longer than %d ids and were cut.",
          self._label,
          number,
          manifest["examples"],
          feature,
          manifest["length"][feature],
        )

  def total(self) -> None:
    """Says what all caches took together, if this start has made any."""
    if not self._made:
      return
    seconds = time.monotonic() - self._start
    logging.info(
      "prepared: %.2f M tokens in %.1f s (%.2f M tokens/s, %.2f M tokens per "
      "CPU-second), %.1f %% padding, %.2f GB of memory in the largest process",
      self._tokens / 1e6,
      seconds,
      self._made / 1e6 / seconds,
      self._made / 1e6 / (_cpu_seconds() - self._cpu_start),
      100 * (1 - self._tokens / self._positions),
      _peak_bytes() / 1e9,
    )


# Of this process, and of those that it started and that have ended.
_PROCESSES = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def _cpu_seconds() -> float:
  usages = map(resource.getrusage, _PROCESSES)
  return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _peak_bytes() -> int:
  unit = 1 if sys.platform == "darwin" else 1024
  return unit * max(resource.getrusage(which).ru_maxrss for which in _PROCESSES)
