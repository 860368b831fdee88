# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Batch t is a function of (seed, t), in any process and in any order of reading."""

import collections
import itertools
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
import tiny_text

from elmer_jax.core.errors import UserError
from elmer_jax.data.cache import writer
from elmer_jax.data.cache.cache import CacheKey, open_cache
from elmer_jax.data.corruption import Corruption, corrupt, example_rng
from elmer_jax.data.datasets.dataset import DatasetSpec
from elmer_jax.data.loader import Batches
from elmer_jax.tokenizer.special_ids import BOS_ID, EOS_ID, PAD_ID

BATCH, SOURCE, TARGET = 8, 32, 31


@pytest.fixture(scope="module")
def vocabulary():
  return tiny_text.vocabulary()


def make_cache(directory, items, vocabulary, kind="lplm"):
  key = CacheKey.create("tiny", kind, "train", vocabulary, SOURCE, TARGET)
  spec = DatasetSpec("tiny", kind, lambda split: iter(items))
  writer.write_cache(directory, spec, key, vocabulary)
  return open_cache(directory, key)


@pytest.fixture(scope="module")
def cache(tmp_path_factory, vocabulary):
  folder = tmp_path_factory.mktemp("cache")
  return make_cache(folder, tiny_text.documents(60), vocabulary)


@pytest.fixture(scope="module")
def corruption(vocabulary):
  return Corruption.from_vocabulary(vocabulary)


@pytest.fixture(scope="module")
def batches_of(cache, corruption):
  def make(caches=None, **options):
    settings = {"batch_size": BATCH, "source_length": SOURCE, "target_length": TARGET}
    settings |= {"seed": 5, "corruption": corruption} | options
    return Batches(caches or [(cache, 1.0)], **settings)

  return make


def rows(batch) -> list[tuple[bytes, bytes]]:
  pairs = zip(batch["source_ids"], batch["target_ids"], strict=True)
  return [(source.tobytes(), target.tobytes()) for source, target in pairs]


def targets(batches, examples: int, first: int = 0) -> list[bytes]:
  """Returns the targets of examples first … first + examples - 1 of the stream."""
  steps = range(first // BATCH, -(-(first + examples) // BATCH))
  flat = [target for step in steps for _, target in rows(batches[step])]
  start = first - steps[0] * BATCH
  return flat[start : start + examples]


def without_padding(row: np.ndarray) -> np.ndarray:
  count = np.count_nonzero(row != PAD_ID)
  assert (row[count:] == PAD_ID).all()
  return row[:count]


def test_rows_are_a_window_and_its_corruption(cache, corruption, batches_of):
  windows = {cache[i]["target"].tobytes(): i for i in range(len(cache))}
  batches = batches_of()
  assert batches.examples == len(cache)
  for step in range(4):
    batch = batches[step]
    assert {name: ids.shape for name, ids in batch.items()} == {
      "source_ids": (BATCH, SOURCE),
      "target_ids": (BATCH, TARGET),
    }
    assert all(ids.dtype == np.int32 for ids in batch.values())
    for source, target in zip(*batch.values(), strict=True):
      *window, end = without_padding(target)
      begin, *inner, source_end = without_padding(source)
      assert (begin, source_end, end) == (BOS_ID, EOS_ID, EOS_ID)
      # The first epoch: the index is that of the window.
      window = np.array(window, np.int32)
      rng = example_rng(5, windows[window.tobytes()])
      expected = corrupt(window, rng, corruption)[: SOURCE - 2]
      np.testing.assert_array_equal(inner, expected)


def test_a_corruption_that_does_not_fit_is_drawn_again(cache, corruption, batches_of):
  published, short = batches_of(), batches_of(source_length=26, draws=20)
  again = truncated = 0
  for step in range(8):
    for (old, target), (new, same) in zip(
      rows(published[step]), rows(short[step]), strict=True
    ):
      assert target == same
      old, new = (without_padding(np.frombuffer(row, np.int32)) for row in (old, new))
      if len(old) <= 26:
        np.testing.assert_array_equal(old, new)
      else:
        again += 1
        truncated += np.array_equal(old[:25], new[:25])
  assert again > 5 and truncated == 0
  assert rows(short[3]) == rows(batches_of(source_length=26, draws=20)[3])


@pytest.mark.parametrize("documents", [1, 2, 7, 60])
def test_an_epoch_has_every_window_once_and_the_next_another_order(
  tmp_path, vocabulary, batches_of, documents
):
  texts = tiny_text.documents(documents + 3)[3:]
  cache = make_cache(tmp_path, texts, vocabulary)
  n = len(cache)
  batches = batches_of([(cache, 1.0)])
  epochs = [targets(batches, n, first) for first in (0, n, 2 * n)]
  expected = cached_windows(cache)
  assert all(collections.Counter(map(window_of, e)) == expected for e in epochs)
  if documents > 2:
    assert all(a != b for a, b in itertools.combinations(epochs, 2))


def test_a_window_is_corrupted_differently_in_every_epoch(cache, batches_of):
  batches = batches_of()
  steps = range(3 * len(cache) // BATCH)
  sources = collections.defaultdict(set)
  for source, target in (row for step in steps for row in rows(batches[step])):
    sources[target].add(source)
  long = [found for target, found in sources.items() if target.count(b"\1\0\0\0") < 5]
  assert sum(len(found) > 1 for found in long) > 0.95 * len(long) > 0


STEPS = [0, 1, 1000, 1_000_000]


@pytest.fixture(scope="module")
def small_cache(tmp_path_factory, vocabulary):
  folder = tmp_path_factory.mktemp("small")
  return make_cache(folder, tiny_text.documents(9, seed=1), vocabulary)


@pytest.fixture(scope="module", params=["task", "mixture"])
def caches(request, cache, small_cache):
  """A single cache, or a mixture."""
  one, other = (cache, 3.0), (small_cache, 1.0)
  return [one] if request.param == "task" else [one, other]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("rows", [[0, 1], [6, 7], [3], [0, 1, 4, 5], [2, 5, 7]])
def test_some_rows_of_a_batch_are_those_of_the_whole(caches, batches_of, rows, step):
  whole = batches_of(caches)[step]
  some = batches_of(caches, rows=np.array(rows))[step]
  assert some.keys() == whole.keys()
  for name, expected in whole.items():
    np.testing.assert_array_equal(some[name], expected[rows])


def test_rows_of_the_last_batch_of_a_single_pass(cache, batches_of):
  batches = batches_of(single_pass=True)
  assert len(cache) % BATCH  # the last batch has empty rows
  for first in range(BATCH):
    rows = np.arange(first, BATCH, 3)
    some = batches_of(single_pass=True, rows=rows)
    assert len(some) == len(batches)
    for step in (0, len(batches) - 1):
      for name, expected in batches[step].items():
        np.testing.assert_array_equal(some[step][name], expected[rows])


@pytest.mark.parametrize("step", STEPS)
def test_a_resumed_run_reads_the_same_batches(caches, batches_of, step):
  whole = batches_of(caches)
  before = [rows(whole[step + i]) for i in range(3)]
  for count in (1, 2, 4):
    shares = np.split(np.arange(BATCH), count)
    streams = [batches_of(caches, rows=share).iterate(step) for share in shares]
    for expected in before:
      together = [row for stream in streams for row in rows(next(stream))]
      assert together == expected
    for stream in streams:
      stream.close()


def test_another_python_process_makes_the_same_batches(caches, batches_of):
  batches = batches_of(caches)
  code = (
    "import sys, pickle; batches = pickle.load(sys.stdin.buffer); "
    f"pickle.dump([next(batches.iterate(t)) for t in {STEPS}], sys.stdout.buffer)"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    input=pickle.dumps(batches),
    capture_output=True,
    check=True,
  )
  for step, batch in zip(STEPS, pickle.loads(done.stdout), strict=True):
    assert rows(batch) == rows(batches[step])


@pytest.mark.parametrize("seed", range(3))
def test_an_epoch_of_each_cache_of_a_mixture_has_every_window_once(
  cache, small_cache, batches_of, seed
):
  rates = [(cache, 3.0), (small_cache, 1.0)]
  windows = [cached_windows(part) for part, _ in rates]
  # Windows that are in both caches are left out.
  both = windows[0].keys() & windows[1].keys()
  stream = targets(batches_of(rates, seed=seed), 12 * (len(cache) + len(small_cache)))
  for counts in windows:
    own = {window: n for window, n in counts.items() if window not in both}
    size = sum(own.values())
    found = [window for window in map(window_of, stream) if window in own]
    epochs = [found[start : start + size] for start in range(0, len(found), size)]
    assert len(epochs) > 3
    for epoch in epochs[:-1]:
      assert collections.Counter(epoch) == own


def cached_windows(cache) -> collections.Counter:
  return collections.Counter(
    cache[index]["target"].tobytes() for index in range(len(cache))
  )


def window_of(target: bytes) -> bytes:
  return without_padding(np.frombuffer(target, np.int32))[:-1].tobytes()


def test_batches_are_a_function_of_seed_and_step(batches_of):
  batches, again = batches_of(), batches_of()
  forwards = [rows(batches[step]) for step in range(6)]
  backwards = [rows(again[step]) for step in reversed(range(6))]
  assert forwards == backwards[::-1]
  other = [rows(batches_of(seed=6)[step]) for step in range(6)]
  assert all(a != b for a, b in zip(forwards, other, strict=True))


def test_another_batch_size_continues_the_same_stream(batches_of):
  small, large = batches_of(), batches_of(batch_size=2 * BATCH)
  assert rows(small[4]) + rows(small[5]) == rows(large[2])


@pytest.mark.parametrize("workers", [0, 1])
def test_iteration_starts_at_any_step(batches_of, workers):
  batches = batches_of()
  stream = batches.iterate(start=7, workers=workers)
  for step, batch in zip(range(7, 12), stream, strict=False):
    assert rows(batch) == rows(batches[step])
  stream.close()


class SlowCache:
  """A cache each of whose reads takes until `count` of them have begun."""

  def __init__(self, cache, count: int):
    self.manifest, self.directory = cache.manifest, cache.directory
    self.started = threading.Barrier(count, timeout=60)
    self._cache = cache

  def __len__(self) -> int:
    return len(self._cache)

  def __getitem__(self, index: int):
    self.started.wait()
    return self._cache[index]


def test_reads_of_several_batches_overlap(cache, batches_of):
  slow = SlowCache(cache, 2 * BATCH)
  stream = batches_of([(slow, 1.0)], read_threads=2 * BATCH).iterate()
  for step in range(6):
    assert rows(next(stream)) == rows(batches_of()[step])
  slow.started.abort()
  stream.close()


def test_a_single_pass_has_every_window_once_and_then_empty_rows(cache, batches_of):
  batches = batches_of(single_pass=True)
  steps = list(batches.iterate())
  assert len(steps) == len(batches) == -(-len(cache) // BATCH)
  source = np.concatenate([batch["source_ids"] for batch in steps])
  target = np.concatenate([batch["target_ids"] for batch in steps])
  assert (target[: len(cache)] == EOS_ID).any(axis=1).all()
  assert len(target) > len(cache)
  assert (target[len(cache) :] == PAD_ID).all()
  assert (source[len(cache) :, :2] == [BOS_ID, EOS_ID]).all()
  assert (source[len(cache) :, 2:] == PAD_ID).all()
  with pytest.raises(IndexError):
    batches[len(batches)]


def test_without_shuffling_the_order_is_that_of_the_documents(cache, batches_of):
  batches = batches_of(single_pass=True, shuffle=False)
  for index in range(len(cache)):
    target = batches[index // BATCH]["target_ids"][index % BATCH]
    window = cache[index]["target"]
    np.testing.assert_array_equal(without_padding(target)[:-1], window)


def test_a_mixture_follows_its_rates(cache, small_cache, batches_of):
  small = small_cache
  own = {tuple(small[i]["target"].tolist()) for i in range(len(small))}
  mixture = [(cache, 3.0), (small, 1.0)]
  batches = batches_of(mixture)
  found = [
    tuple(without_padding(target)[:-1].tolist()) in own
    for step in range(50)
    for target in batches[step]["target_ids"]
  ]
  assert abs(np.mean(found) - 0.25) < 0.01  # some windows are in both
  once = batches_of(mixture, single_pass=True)
  assert once.examples == len(cache) + len(small)
  whole = collections.Counter(targets(once, once.examples))
  apart = [batches_of([part], single_pass=True) for part in mixture]
  assert whole == sum(
    (collections.Counter(targets(part, part.examples)) for part in apart),
    collections.Counter(),
  )


def test_source_and_target_of_pairs_stay_together(tmp_path, vocabulary, batches_of):
  pairs = [(text, text[-12:]) for text in tiny_text.documents(10)]
  pairs_cache = make_cache(tmp_path, pairs, vocabulary, "pairs")
  batches = batches_of([(pairs_cache, 1.0)], corruption=None, batch_size=10)
  batch = batches[0]
  found = set()
  for source, target in zip(*batch.values(), strict=True):
    ids, text = without_padding(source)[1:-1], vocabulary.decode(target)
    found.add((vocabulary.decode(ids), text))
    assert (source[0], without_padding(source)[-1]) == (BOS_ID, EOS_ID)
  expected = {(vocabulary.decode(vocabulary.encode(s)[:30]), t) for s, t in pairs}
  assert found == expected


def test_pickles(batches_of):
  batches = batches_of()
  assert rows(pickle.loads(pickle.dumps(batches))[3]) == rows(batches[3])


def test_invalid_rows_and_lengths_are_errors(batches_of):
  for wrong in ([1, 0], [2, 2], [BATCH], [-1, 3]):
    with pytest.raises(ValueError, match="sorted, distinct and below 8"):
      batches_of(rows=np.array(wrong))
  with pytest.raises(UserError, match="longer than the target length 30"):
    batches_of(target_length=30)


def test_needs_neither_seqio_nor_tensorflow():
  code = (
    "import sys; sys.modules.update(tensorflow=None, seqio=None, tensorflow_datasets="
    "None); import elmer_jax.prepare, elmer_jax.data.loader; "
    "import elmer_jax.data.datasets.pydocs"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
