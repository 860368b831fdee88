# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Batch t = f(seed, t): no iterator has a state that could be lost or tied to a host.

Training reads one endless stream of examples. Place i of the stream, counted over all
processes, is an example that `(seed, i)` alone decides, and batch t is the places
t·B … t·B + B - 1. So a run that resumes at step t, on any number of processes, sees
what it would have seen.

One batch of two rows, source length 10, target length 8, from an LPLM cache. MASK is
id 99, the full stop 5, and even ids begin a word:

    window of row 0      [10, 11, 5, 12, 13, 14, 5]       two sentences, three words
    sentences shuffled   [12, 13, 14, 5, 10, 11, 5]
    words hidden         [12, 13, 99, 10, 11, 5]          14 and 5 under one MASK

    source_ids  [[ 0, 12, 13, 99, 10, 11,  5,  2,  1,  1],   BOS 0, EOS 2, PAD 1
                 [ 0, 20, 99, 22,  5,  2,  1,  1,  1,  1]]
    target_ids  [[10, 11,  5, 12, 13, 14,  5,  2],           the clean window, EOS
                 [20, 24, 25, 22,  5,  2,  1,  1]]
"""

import sys
from collections.abc import Iterator, Sequence

import grain
import ml_collections
import numpy as np
from absl import flags

from elmer_jax.core.errors import UserError
from elmer_jax.data import prepared_data
from elmer_jax.data.cache.cache import Cache
from elmer_jax.data.corruption import Corruption, corrupt, example_rng
from elmer_jax.tokenizer.bpe import Vocabulary
from elmer_jax.tokenizer.special_ids import BOS_ID, EOS_ID, PAD_ID

# More threads only fight for Python's lock: two make half as many batches as one.
_READING = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)

_EVALUATION_SEED = 0


def lplm_rows(
  window: np.ndarray, seed: int, index: int, corruption: Corruption, source_length: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns source and target of an LPLM example, int32, without padding.

  Args:
    window: ids [n] of the clean text.
    seed: of the run.
    index: of the example among those of its task, going on from epoch to epoch, so
      that a window is corrupted in another way each time.
    corruption: how.
    source_length: the most ids of the source, BOS and EOS included. Insertions can
      make a corrupted window longer: it is cut then.
  """
  corrupted = corrupt(window, example_rng(seed, index), corruption)
  return source_row(corrupted, source_length), target_row(window)


def source_row(ids: np.ndarray, source_length: int) -> np.ndarray:
  """Returns BOS, as many of the ids as fit into `source_length`, EOS."""
  return np.concatenate([[BOS_ID], ids[: source_length - 2], [EOS_ID]], dtype=np.int32)


def target_row(ids: np.ndarray) -> np.ndarray:
  """Returns the ids and EOS."""
  return np.concatenate([ids, [EOS_ID]], dtype=np.int32)


class Batches:
  """The batches of a data set, by step.

  `batches[t]` is a dict of int32 arrays `source_ids` [R, S] and `target_ids` [R, T],
  padded with PAD: R rows of the global batch of B rows. `len(batches)` is the number
  of steps of a single pass; of an endless stream it is sys.maxsize.

  Attributes:
    examples: examples in all caches together.
  """

  def __init__(
    self,
    caches: Sequence[tuple[Cache, float]],
    *,
    batch_size: int,
    source_length: int,
    target_length: int,
    seed: int,
    corruption: Corruption | None = None,
    rows: np.ndarray | None = None,
    shuffle: bool = True,
    single_pass: bool = False,
  ):
    """Makes the stream of examples.

    Args:
      caches: each with its rate: how often its examples come, relative to the others.
      batch_size: B, rows of a batch over all processes.
      source_length: S.
      target_length: T.
      seed: decides the order and the corruption.
      corruption: of windows; None for pairs.
      rows: integers [R], sorted and distinct: which rows of each global batch to
        read. Those that the devices of a process hold; all by default.
      shuffle: whether the examples come in an order that is drawn, anew for every
        epoch, or in that of the caches.
      single_pass: False for an endless stream, the caches mixed by their rates. True
        for every example once; rows that are left over in the last batch are empty: a
        source of BOS and EOS, a target of PAD.

    Raises:
      UserError: there are fewer positions than the caches need.
      ValueError: `rows` isn't sorted, or has a row outside the batch.
    """
    rows = np.arange(batch_size) if rows is None else np.asarray(rows)
    if not np.array_equal(rows, np.intersect1d(rows, np.arange(batch_size))):
      raise ValueError(f"rows must be sorted, distinct and below {batch_size}: {rows}")
    for cache, _ in caches:
      if cache.manifest["length"]["target"] >= target_length:
        raise UserError(f"the targets in {cache.directory} don't fit {target_length}")
    self.examples = sum(len(cache) for cache, _ in caches)
    self._batch_size = batch_size
    self._rows = rows
    self._source_length = source_length
    self._target_length = target_length
    self._seed = seed
    self._corruption = corruption
    parts = [_Examples(cache) for cache, _ in caches]
    # Grain takes a seed of 32 bits, and shuffles each epoch with a seed of its own.
    order = seed % 2**32 if shuffle else None
    if single_pass:
      self._stream = _single_pass(parts, order)
    else:
      self._stream = _endless(parts, [rate for _, rate in caches], order)
    self._steps = -(-self.examples // batch_size) if single_pass else sys.maxsize

  def __len__(self) -> int:
    return self._steps

  def __getitem__(self, step: int) -> dict[str, np.ndarray]:
    if not 0 <= step < len(self):
      raise IndexError(f"there are {len(self)} steps, no step {step}")
    source = np.full((len(self._rows), self._source_length), PAD_ID, np.int32)
    target = np.full((len(self._rows), self._target_length), PAD_ID, np.int32)
    first = step * self._batch_size
    rows = self._rows[self._rows < len(self._stream) - first].tolist()
    # All are read before any is corrupted: in turns they push each other's code out of
    # the processor's caches, which takes a fifth longer.
    examples = [self._stream[first + row] for row in rows]
    for row, (example, index) in enumerate(examples):
      source_ids, target_ids = self._row(example, index)
      source[row, : len(source_ids)] = source_ids
      target[row, : len(target_ids)] = target_ids
    # A source without any token would leave attention nothing to look at.
    source[len(examples) :, :2] = BOS_ID, EOS_ID
    return {"source_ids": source, "target_ids": target}

  def _row(
    self, example: dict[str, np.ndarray], index: int
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns source and target [n] of an example, without padding."""
    length = self._source_length
    if self._corruption is None:
      return source_row(example["source"], length), target_row(example["target"])
    return lplm_rows(example["target"], self._seed, index, self._corruption, length)

  def iterate(
    self, start: int = 0, workers: int = 0
  ) -> Iterator[dict[str, np.ndarray]]:
    """Yields the batches of steps start, start + 1, …, made ahead of their use.

    Args:
      start: the first step.
      workers: processes that make batches; 0: a thread of this process, which suffices
        unless a step takes less time than the making of a batch.
    """
    dataset = grain.MapDataset.source(self)[start:].to_iter_dataset(_READING)
    if workers:
      # Grain's workers read flags, which only a program of absl's has parsed.
      if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
      dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    iterator = iter(dataset)
    try:
      yield from iterator
    finally:
      iterator.close()


class _Examples(grain.MapDataset):
  """The examples of a cache and their indices, epoch after epoch.

  The index goes on counting from epoch to epoch. As this stands below the shuffle, it
  names a window and an epoch, in whatever order they are read.
  """

  def __init__(self, cache: Cache):
    super().__init__()
    self._cache = cache

  def __len__(self) -> int:
    return len(self._cache)

  def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], int]:
    return self._cache[index % len(self._cache)], index


def _single_pass(parts: Sequence[_Examples], order: int | None) -> grain.MapDataset:
  stream = parts[0] if len(parts) == 1 else grain.MapDataset.concatenate(parts)
  return stream if order is None else stream.shuffle(order)


def _endless(
  parts: Sequence[_Examples], rates: Sequence[float], order: int | None
) -> grain.MapDataset:
  if order is not None:
    parts = [part.shuffle(order) for part in parts]
  parts = [part.repeat() for part in parts]
  return parts[0] if len(parts) == 1 else grain.MapDataset.mix(parts, rates)


def open_batches(
  config: ml_collections.ConfigDict,
  workdir: str,
  vocabulary: Vocabulary,
  split: str,
  *,
  single_pass: bool = False,
  rows: np.ndarray | None = None,
) -> Batches:
  """Opens the prepared data of a run.

  Args:
    config: of the run.
    workdir: of the run.
    vocabulary: of the run.
    split: "train", "validation" or "test".
    single_pass: False for the endless stream of training, which `config.seed` decides.
      True for an evaluation: every example once, in an order and with a corruption that
      are the same for every run, so that their losses compare, and so that the first
      batches are a fair sample.
    rows: see `Batches`.

  Raises:
    UserError: the data isn't prepared, is damaged, or doesn't fit the configuration.
  """
  caches = prepared_data.open_caches(config, workdir, vocabulary, split)
  documents = caches[0][0].manifest["kind"] == "lplm"
  return Batches(
    caches,
    batch_size=config.data.batch_size,
    source_length=config.data.source_length,
    target_length=config.data.target_length,
    seed=_EVALUATION_SEED if single_pass else config.seed,
    corruption=Corruption.of(vocabulary) if documents else None,
    rows=rows,
    single_pass=single_pass,
  )
