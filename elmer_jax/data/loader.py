# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Batch t = f(seed, t): no iterator has a state that could be lost or tied to a host.

Training reads one endless stream of examples. Example i of the stream is a function of
(seed, i), and batch t consists of the examples t·B … t·B + B - 1. So a run that resumes
at step t, on any number of processes, reads the same batches as an uninterrupted one.

One batch of two rows, source length 10, target length 8, from an LPLM cache. MASK is
id 99, the full stop 5, and even ids begin a word:

    window of row 0      [10, 11, 5, 12, 13, 14, 5]       two sentences, three words
    sentences shuffled   [12, 13, 14, 5, 10, 11, 5]
    words masked         [12, 13, 99, 10, 11, 5]          one MASK for 14 and 5

    source_ids  [[ 0, 12, 13, 99, 10, 11,  5,  2,  1,  1],   BOS 0, EOS 2, PAD 1
                 [ 0, 20, 99, 22,  5,  2,  1,  1,  1,  1]]
    target_ids  [[10, 11,  5, 12, 13, 14,  5,  2],           the clean window, EOS
                 [20, 24, 25, 22,  5,  2,  1,  1]]
"""

import concurrent.futures
import functools
import sys
from collections.abc import Iterator, Sequence

import grain
import ml_collections
import numpy as np
from absl import flags

from elmer_jax import configuration
from elmer_jax.core import signals
from elmer_jax.core.errors import UserError
from elmer_jax.data import prepared_data
from elmer_jax.data.cache.cache import Cache
from elmer_jax.data.corruption import Corruption, corrupt, example_rng
from elmer_jax.tokenizer.bpe import Vocabulary
from elmer_jax.tokenizer.special_ids import BOS_ID, EOS_ID, PAD_ID

_BATCHES_AHEAD = 4  # that are being read, and as many that are made
# More threads compete for Python's lock: two make half as many batches as one.
_READING_AHEAD = grain.ReadOptions(num_threads=1, prefetch_buffer_size=_BATCHES_AHEAD)
# Containers have little, and batches that nobody reads any more stay in it.
_NO_SHARED_MEMORY = grain.experimental.DatasetOptions(min_shm_size=sys.maxsize)

_EVALUATION_SEED = 0

_MAX_DRAWS = 20  # of a corruption that is to fit
_NEXT_DRAW = 2**48  # more than there are examples

# An example and its index in the stream of its cache.
_Read = tuple[dict[str, np.ndarray], int]


def make_lplm_example(
  window: np.ndarray,
  seed: int,
  index: int,
  corruption: Corruption,
  source_length: int,
  draws: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns source ids and target ids of an LPLM example, int32 [n], without padding.

  Args:
    window: ids [n] of the clean text.
    seed: seed of the run.
    index: index of the example in its task. It continues to count from epoch to epoch,
      so that a window is corrupted differently in each.
    corruption: parameters of the corruption.
    source_length: maximum number of source ids, BOS and EOS included.
    draws: how often the corruption is drawn, each time with the next key, until it
      fits. Insertions can make it longer than the window; the last one is truncated.
  """
  for draw in range(draws):
    corrupted = corrupt(
      window, example_rng(seed, index + draw * _NEXT_DRAW), corruption
    )
    if len(corrupted) <= source_length - 2:
      break
  return make_source_ids(corrupted, source_length), make_target_ids(window)


def make_source_ids(ids: np.ndarray, source_length: int) -> np.ndarray:
  """Returns BOS, the ids truncated to fit `source_length`, and EOS."""
  return np.concatenate([[BOS_ID], ids[: source_length - 2], [EOS_ID]], dtype=np.int32)


def make_target_ids(ids: np.ndarray) -> np.ndarray:
  """Returns the ids and EOS."""
  return np.concatenate([ids, [EOS_ID]], dtype=np.int32)


class Batches:
  """The batches of a dataset, by step.

  `batches[t]` is a dict of int32 arrays `source_ids` [R, S] and `target_ids` [R, T],
  padded with PAD: R rows of the global batch of B rows. `len(batches)` is the number
  of steps of a single pass; sys.maxsize for an endless stream.

  Attributes:
    examples: number of examples in all caches.
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
    read_threads: int = 1,
    draws: int = 1,
  ):
    """Makes the stream of examples.

    Args:
      caches: each with its rate, the relative frequency of its examples.
      batch_size: B, rows of the global batch.
      source_length: S.
      target_length: T.
      seed: determines the order and the corruption.
      corruption: of windows; None for pairs.
      rows: integers [R], sorted and distinct: which rows of each global batch to
        read, those that the devices of a process hold; all by default.
      shuffle: whether each epoch has a random order, or the order of the caches.
      single_pass: False for an endless stream, with the caches mixed by their rates.
        True for every example once; unused rows of the last batch are empty: a source
        of BOS and EOS, a target of PAD.
      read_threads: how many examples are read at the same time.
      draws: of a corruption until it fits, see `make_lplm_example`.

    Raises:
      UserError: `target_length` is less than the targets in the caches need.
      ValueError: `rows` isn't sorted, or has a row outside the batch.
    """
    rows = np.arange(batch_size) if rows is None else np.asarray(rows)
    if not np.array_equal(rows, np.intersect1d(rows, np.arange(batch_size))):
      raise ValueError(f"rows must be sorted, distinct and below {batch_size}: {rows}")
    for cache, _ in caches:
      if cache.manifest["length"]["target"] >= target_length:
        raise UserError(
          f"the targets in {cache.directory} are longer than the target length "
          f"{target_length}"
        )
    self.examples = sum(len(cache) for cache, _ in caches)
    self._batch_size = batch_size
    self._rows = rows
    self._source_length = source_length
    self._target_length = target_length
    self._seed = seed
    self._corruption = corruption
    self._read_threads = read_threads
    self._draws = draws
    parts = [_Examples(cache) for cache, _ in caches]
    # Grain takes a seed of 32 bits and derives a seed for each epoch from it.
    order = seed % 2**32 if shuffle else None
    if single_pass:
      self._stream = _single_pass(parts, order)
    else:
      self._stream = _endless(parts, [rate for _, rate in caches], order)
    self._steps = -(-self.examples // batch_size) if single_pass else sys.maxsize

  def __len__(self) -> int:
    return self._steps

  def __getitem__(self, step: int) -> dict[str, np.ndarray]:
    return self._make_batch(self._start_reading(step))

  def indices(self, step: int) -> list[int]:
    """Returns the index, as in `make_lplm_example`, of each example of a step."""
    reads = [read.result() for read in self._start_reading(step)]
    return [index for read in reads for _, index in read]

  def _start_reading(self, step: int) -> list[concurrent.futures.Future[list[_Read]]]:
    """Starts to read the examples of a step; the threads divide its rows."""
    if not 0 <= step < len(self):
      raise IndexError(f"there are {len(self)} steps, no step {step}")
    first = step * self._batch_size
    rows = self._rows[self._rows < len(self._stream) - first].tolist()
    share = -(-len(rows) // self._read_threads) or 1
    return [
      self._threads.submit(self._read, [first + row for row in rows[i : i + share]])
      for i in range(0, len(rows), share)
    ]

  @functools.cached_property
  def _threads(self) -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(self._read_threads, "read")

  def __getstate__(self) -> dict:
    """Leaves out the threads, for worker processes."""
    return {name: value for name, value in vars(self).items() if name != "_threads"}

  def _read(self, indices: Sequence[int]) -> list[_Read]:
    return [self._stream[index] for index in indices]

  def _make_batch(
    self, reads: Sequence[concurrent.futures.Future[list[_Read]]]
  ) -> dict[str, np.ndarray]:
    source = np.full((len(self._rows), self._source_length), PAD_ID, np.int32)
    target = np.full((len(self._rows), self._target_length), PAD_ID, np.int32)
    # All are read before any is corrupted: alternating takes a fifth longer, because
    # reading and corrupting evict each other's code from the processor's caches.
    examples = [example for read in reads for example in read.result()]
    for row, (example, index) in enumerate(examples):
      source_ids, target_ids = self._make_example(example, index)
      source[row, : len(source_ids)] = source_ids
      target[row, : len(target_ids)] = target_ids
    # Attention needs at least one source token.
    source[len(examples) :, :2] = BOS_ID, EOS_ID
    return {"source_ids": source, "target_ids": target}

  def _make_example(
    self, example: dict[str, np.ndarray], index: int
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns source ids and target ids [n] of an example, without padding."""
    target, length = example["target"], self._source_length
    if self._corruption is None:
      return make_source_ids(example["source"], length), make_target_ids(target)
    return make_lplm_example(
      target, self._seed, index, self._corruption, length, self._draws
    )

  def iterate(
    self, start: int = 0, workers: int = 0
  ) -> Iterator[dict[str, np.ndarray]]:
    """Yields the batches of steps start, start + 1, …, prefetched.

    While a batch is made, the next ones are being read.

    Args:
      start: the first step.
      workers: number of processes that make batches; 0: a thread of this process,
        which suffices unless a step takes less time than making a batch.
    """
    reads = grain.MapDataset.source(_Reads(self))[start:]
    dataset = reads.to_iter_dataset(_READING_AHEAD).map(self._make_batch)
    if not workers:
      dataset = grain.experimental.ThreadPrefetchIterDataset(
        dataset, prefetch_buffer_size=_BATCHES_AHEAD
      )
    else:
      # Grain's workers read flags, which only an absl application has parsed.
      if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
      dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
      dataset = grain.experimental.WithOptionsIterDataset(dataset, _NO_SHARED_MEMORY)
    iterator = iter(dataset)
    try:
      with signals.interrupts_blocked_in_children():
        first = next(iterator)
      yield first
      yield from iterator
    finally:
      iterator.close()


class _Reads:
  """What `Batches` is reading, by step."""

  def __init__(self, batches: Batches):
    self._batches = batches

  def __len__(self) -> int:
    return len(self._batches)

  def __getitem__(self, step: int) -> list[concurrent.futures.Future[list[_Read]]]:
    return self._batches._start_reading(step)


class _Examples(grain.MapDataset):
  """The examples of a cache with their indices, which count on from epoch to epoch.

  Shuffling comes after this, so that an index identifies a window and an epoch in any
  order of reading.
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
    config: configuration of the run.
    workdir: folder of the run.
    vocabulary: vocabulary of the run.
    split: "train", "validation" or "test".
    single_pass: False for the endless stream of training, determined by `config.seed`.
      True for an evaluation: every example once, shuffled and corrupted with a seed
      that is the same for all runs, so that their losses are comparable and the first
      batches are a representative sample.
    rows: see `Batches`.

  Raises:
    UserError: the data isn't prepared, is damaged, or doesn't match the configuration.
  """
  caches = prepared_data.open_caches(config, workdir, vocabulary, split)
  is_lplm = caches[0][0].manifest["kind"] == "lplm"
  return Batches(
    caches,
    batch_size=config.data.batch_size,
    source_length=configuration.encoder_positions(config),
    target_length=config.data.target_length,
    seed=_EVALUATION_SEED if single_pass else config.seed,
    corruption=Corruption.from_vocabulary(vocabulary) if is_lplm else None,
    rows=rows,
    single_pass=single_pass,
    read_threads=config.data.read_threads,
    draws=_MAX_DRAWS if config.data.corrupted_length else 1,
  )
