# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Throughput of the loader, and of the corruption alone, in tokens per CPU-second.

    python benchmarks/loader.py [--cache=W/cache/TASK/train --vocabulary=FOLDER]

Windows of 510 ids are read from ArrayRecord in random order through Grain, corrupted,
and put into batches of 512 positions, as in training. Without --cache, a cache of
synthetic words is made first. CPU-seconds are summed over all threads, so the figures
are per core; tokens are those of the clean windows, EOS included. Rounds of both
measurements alternate, so that a slow minute of the machine affects both. The last line
is JSON: all rounds and their medians, in millions of tokens; for the loader also
examples a second of wall time. benchmarks/slow_reads.c delays reads as a network does.
"""

import concurrent.futures
import importlib.metadata
import itertools
import json
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np
from absl import app, flags

from elmer_jax.data.cache.cache import Cache, CacheKey, open_cache
from elmer_jax.data.cache.writer import write_cache
from elmer_jax.data.corruption import Corruption, corrupt, example_rng
from elmer_jax.data.datasets.dataset import DatasetSpec
from elmer_jax.data.loader import Batches
from elmer_jax.tokenizer.bpe import Vocabulary
from elmer_jax.tokenizer.special_ids import PAD_ID

_CACHE = flags.DEFINE_string("cache", None, "Folder of a split of an LPLM task.")
_VOCABULARY = flags.DEFINE_string("vocabulary", None, "Vocabulary of the cache.")
_LENGTH = flags.DEFINE_integer("length", 512, "Source and target length.", 8)
_BATCH = flags.DEFINE_integer("batch_size", 32, "Rows of a batch.", 1)
_STEPS = flags.DEFINE_integer("steps", 100, "Batches of each round.", 1)
_THREADS = flags.DEFINE_integer("read_threads", 32, "Reads at the same time.", 1)
_WORKERS = flags.DEFINE_integer(
  "workers", 0, "Processes that make batches; their CPU-seconds are not counted.", 0
)
_ROUNDS = flags.DEFINE_integer("rounds", 9, "Rounds of each measurement.", 1)


def main(argv: list[str]) -> None:
  del argv
  if _CACHE.value and not _VOCABULARY.value:
    raise app.UsageError("--cache needs --vocabulary, the folder of its vocabulary")
  if _CACHE.value:
    measure(open_cache(_CACHE.value), Vocabulary.load(_VOCABULARY.value))
  else:
    with tempfile.TemporaryDirectory() as folder:
      measure(*_synthetic_cache(pathlib.Path(folder)))


def measure(cache: Cache, vocabulary: Vocabulary) -> None:
  """Prints the throughput for one cache."""
  corruption = Corruption.from_vocabulary(vocabulary)
  batches = Batches(
    [(cache, 1.0)],
    batch_size=_BATCH.value,
    source_length=_LENGTH.value,
    target_length=_LENGTH.value,
    seed=0,
    corruption=corruption,
    read_threads=_THREADS.value,
  )
  size = _STEPS.value * _BATCH.value
  with concurrent.futures.ThreadPoolExecutor(_THREADS.value) as threads:
    examples = threads.map(cache.__getitem__, range(min(size, len(cache))))
    windows = [example["target"] for example in examples]
  padding = {"source_ids": [], "target_ids": []}
  stream = batches.iterate(workers=_WORKERS.value)

  def load() -> int:
    tokens = 0
    for batch in itertools.islice(stream, _STEPS.value):
      for name, ids in batch.items():
        padding[name].append(np.mean(ids == PAD_ID))
      tokens += np.count_nonzero(batch["target_ids"] != PAD_ID)
    return tokens

  def corrupt_all() -> int:
    for index, window in enumerate(windows):
      corrupt(window, example_rng(0, index), corruption)
    return sum(len(window) + 1 for window in windows)

  rates = {"loader": [], "corruption": []}
  examples_per_second = []
  for turn in range(_ROUNDS.value + 1):
    for name, work in (("loader", load), ("corruption", corrupt_all)):
      rate, seconds = _rate(work)
      if not turn:  # it opens files and fills caches
        continue
      rates[name].append(rate)
      if name == "loader":
        examples_per_second.append(round(size / seconds))
  stream.close()
  result = {"unit": "million tokens a CPU-second"}
  for name, rounds in rates.items():
    result[name] = {"median": statistics.median(rounds), "rounds": sorted(rounds)}
  result["examples a second"] = examples_per_second
  result["padding"] = {name: float(np.mean(shares)) for name, shares in padding.items()}
  names = ("numpy", "grain", "array_record")
  result["versions"] = {name: importlib.metadata.version(name) for name in names}
  print(json.dumps(_rounded(result)))


def _rate(work: Callable[[], int]) -> tuple[float, float]:
  """Returns millions of tokens a CPU-second, and the seconds of wall time."""
  start, cpu_start = time.monotonic(), time.process_time()
  tokens = work()
  rate = tokens / (time.process_time() - cpu_start) / 1e6
  return rate, time.monotonic() - start


def _rounded(value):
  if isinstance(value, dict):
    return {name: _rounded(part) for name, part in value.items()}
  if isinstance(value, list):
    return [_rounded(part) for part in value]
  return round(value, 3) if isinstance(value, float) else value


def _synthetic_cache(folder: pathlib.Path) -> tuple[Cache, Vocabulary]:
  vocabulary = Vocabulary.train(_documents(30), 8192, folder / "vocabulary")
  key = CacheKey.create("synthetic", "lplm", "train", vocabulary, *[_LENGTH.value] * 2)
  spec = DatasetSpec("synthetic", "lplm", lambda split: _documents(200))
  write_cache(folder / "cache", spec, key, vocabulary)
  return open_cache(folder / "cache", key), vocabulary


def _documents(count: int) -> Iterator[str]:
  """Yields texts of about 15,000 words with Zipf-distributed frequencies."""
  rng = np.random.default_rng(0)
  syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
  words = np.array(
    ["".join(rng.choice(syllables, n)) for n in rng.integers(1, 5, 20_000)]
  )
  for _ in range(count):
    ranks = np.minimum(rng.zipf(1.2, 15_000), len(words)) - 1
    ends = np.cumsum(rng.integers(5, 40, 1000))
    sentences = np.split(words[ranks], ends[ends < len(ranks)])
    yield " ".join(" ".join(sentence).capitalize() + "." for sentence in sentences)


if __name__ == "__main__":
  app.run(main)
