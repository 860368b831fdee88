# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Batch t is a function of (seed, t), whoever asks for it and in whatever order."""

import collections
import itertools
import pickle
import subprocess
import sys

import numpy as np
import pytest
import tiny_text

from elmer_jax.data import cache_writer
from elmer_jax.data.cache import Purpose, open_cache
from elmer_jax.data.corruption import Corruption, corrupt, example_rng
from elmer_jax.data.loader import Batches
from elmer_jax.data.recipe import Recipe
from elmer_jax.data.vocabulary import BOS_ID, EOS_ID, PAD_ID
from elmer_jax.errors import UserError

BATCH, SOURCE, TARGET = 8, 32, 31


@pytest.fixture(scope="module")
def vocabulary():
  return tiny_text.vocabulary()


def make_cache(directory, items, vocabulary, kind="lplm"):
  purpose = Purpose.of("tiny", kind, "train", vocabulary, SOURCE, TARGET)
  recipe = Recipe("tiny", kind, lambda split: iter(items))
  cache_writer.write_cache(directory, recipe, purpose, vocabulary)
  return open_cache(directory, purpose)


@pytest.fixture(scope="module")
def cache(tmp_path_factory, vocabulary):
  folder = tmp_path_factory.mktemp("cache")
  return make_cache(folder, tiny_text.documents(60), vocabulary)


@pytest.fixture(scope="module")
def corruption(vocabulary):
  return Corruption.of(vocabulary)


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
  """The targets at places first … first + examples - 1 of the stream."""
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


def test_an_epoch_has_every_window_once_and_the_next_another_order(cache, batches_of):
  n = len(cache)
  batches = batches_of()
  epochs = [targets(batches, n, first) for first in (0, n, 2 * n)]
  expected = collections.Counter(targets(batches_of(single_pass=True), n))
  assert all(collections.Counter(epoch) == expected for epoch in epochs)
  assert all(a != b for a, b in itertools.combinations(epochs, 2))


def test_a_window_is_corrupted_anew_in_every_epoch(cache, batches_of):
  batches = batches_of()
  steps = range(3 * len(cache) // BATCH)
  sources = collections.defaultdict(set)
  for source, target in (row for step in steps for row in rows(batches[step])):
    sources[target].add(source)
  long = [found for target, found in sources.items() if target.count(b"\1\0\0\0") < 5]
  assert sum(len(found) > 1 for found in long) > 0.95 * len(long) > 0


@pytest.mark.parametrize("step", [0, 1, 1000, 1_000_000])
def test_processes_share_a_batch(batches_of, step):
  whole = batches_of()[step]
  for count in (2, 4):
    parts = [
      batches_of(process_index=index, process_count=count)[step]
      for index in range(count)
    ]
    for name, expected in whole.items():
      together = np.concatenate([part[name] for part in parts])
      np.testing.assert_array_equal(together, expected)


def test_seed_and_step_decide(batches_of):
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
def test_iteration_goes_on_from_any_step(batches_of, workers):
  batches = batches_of()
  stream = batches.iterate(start=7, workers=workers)
  for step, batch in zip(range(7, 12), stream, strict=False):
    assert rows(batch) == rows(batches[step])
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


def test_unshuffled_is_the_order_of_the_documents(cache, batches_of):
  batches = batches_of(single_pass=True, shuffle=False)
  for index in range(len(cache)):
    target = batches[index // BATCH]["target_ids"][index % BATCH]
    window = cache[index]["target"]
    np.testing.assert_array_equal(without_padding(target)[:-1], window)


def test_a_mixture_follows_its_rates(tmp_path, cache, vocabulary, batches_of):
  small = make_cache(tmp_path, tiny_text.documents(9, seed=1), vocabulary)
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


def test_pairs_keep_their_sides_together(tmp_path, vocabulary, batches_of):
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


def test_what_does_not_fit_is_told(batches_of):
  with pytest.raises(UserError, match="8 can't be shared by 3 processes"):
    batches_of(process_count=3)
  with pytest.raises(UserError, match="don't fit 30"):
    batches_of(target_length=30)


def test_needs_neither_seqio_nor_tensorflow():
  code = (
    "import sys; sys.modules.update(tensorflow=None, seqio=None, tensorflow_datasets="
    "None); import elmer_jax.prepare, elmer_jax.data.loader, elmer_jax.data.pydocs"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
