# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Log lines of `prepare`: progress, time left, and totals."""

import resource
import sys
import time
from collections.abc import Mapping

from absl import logging

from elmer_jax.core.wording import count_of, format_duration
from elmer_jax.data.cache.shard import ShardMetadata

_SECONDS_BETWEEN_LINES = 5


class PrepareProgress:
  """Logs the progress of each cache every few seconds, and the totals of all caches.

  Rates count only new shards, not those reused from an interrupted preparation.
  """

  def __init__(self):
    self._start = time.monotonic()
    self._cpu_start = _cpu_seconds()
    self._total_new_tokens = self._total_tokens = self._total_positions = 0
    self.start_cache("", None)

  def start_cache(self, label: str, size: float | None) -> None:
    """Starts a cache.

    Args:
      label: prefix of its log lines.
      size: approximate number of characters, if known.
    """
    self._label = label
    self._size = size
    self._cache_start = self._last_line = time.monotonic()
    self._characters = self._new_characters = self._tokens = self._new_tokens = 0

  def add_shard(self, shard: ShardMetadata, is_new: bool) -> None:
    """Counts a finished shard; `is_new` unless an earlier preparation wrote it."""
    tokens = sum(shard.tokens.values())
    self._characters += shard.characters
    self._tokens += tokens
    if is_new:
      self._new_characters += shard.characters
      self._new_tokens += tokens
      self._total_new_tokens += tokens
    now = time.monotonic()
    if now - self._last_line >= _SECONDS_BETWEEN_LINES:
      self._last_line = now
      self._log(now - self._cache_start)

  def _log(self, seconds: float) -> None:
    time_left = ""
    characters_left = (self._size or 0) - self._characters
    if characters_left > 0 and self._new_characters:
      seconds_left = characters_left * seconds / self._new_characters
      time_left = f", about {format_duration(seconds_left)} left"
    rate = f"{self._new_tokens / seconds:,.0f}"
    logging.info(
      "%s: %s, %s tokens/s%s",
      *(self._label, count_of(self._tokens, "token"), rate, time_left),
    )

  def finish_cache(self, manifest: Mapping) -> None:
    """Logs the content of a finished cache."""
    seconds = time.monotonic() - self._cache_start
    tokens = sum(manifest["tokens"].values())
    positions = manifest["examples"] * sum(manifest["length"].values())
    self._total_tokens += tokens
    self._total_positions += positions
    new = self._new_tokens
    reused = f", {tokens - new:,} of them reused" if new < tokens else ""
    documents = "document" if "source" not in manifest["length"] else "pair"
    logging.info(
      "%s: %s from %s, %s in %.1f s (%s tokens/s)%s, %.1f %% padding",
      self._label,
      count_of(manifest["examples"], "example"),
      count_of(manifest["documents"], documents),
      count_of(tokens, "token"),
      seconds,
      f"{new / seconds:,.0f}",
      reused,
      100 * (1 - tokens / positions),
    )
    for feature, number in manifest["cut"].items():
      if number:
        logging.warning(
          "%s: %d of %d texts of feature %s are longer than %d ids and were truncated.",
          self._label,
          number,
          manifest["examples"],
          feature,
          manifest["length"][feature],
        )

  def log_total(self) -> None:
    """Logs the totals of all caches if any shard is new."""
    if not self._total_new_tokens:
      return
    seconds = time.monotonic() - self._start
    new = self._total_new_tokens
    logging.info(
      "prepared: %s in %.1f s (%s tokens/s, %s tokens per CPU-second), %.1f %% "
      "padding, %.2f GB of memory in the largest process",
      count_of(self._total_tokens, "token"),
      seconds,
      f"{new / seconds:,.0f}",
      f"{new / (_cpu_seconds() - self._cpu_start):,.0f}",
      100 * (1 - self._total_tokens / self._total_positions),
      _peak_bytes() / 1e9,
    )


# This process, and its finished child processes.
_PROCESSES = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def _cpu_seconds() -> float:
  usages = map(resource.getrusage, _PROCESSES)
  return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _peak_bytes() -> int:
  unit = 1 if sys.platform == "darwin" else 1024
  return unit * max(resource.getrusage(which).ru_maxrss for which in _PROCESSES)
