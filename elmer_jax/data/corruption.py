# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The corruption of source texts in LPLM pre-training.

`corrupt` first shuffles the sentences of a window, then masks 30 % of its words (text
infilling): spans of whole words, with lengths from a Poisson distribution of mean 3.5,
are each replaced by a single MASK; spans of length zero insert a MASK between tokens;
10 % of the MASKs are a random token instead. The steps and the edge cases are those of
the published ELMER script (a copy of fairseq's denoising dataset), whose measured
statistics are in tests/golden/corruption_stats.json. There are two deliberate
differences:

* Random tokens are drawn from the ordinary ids, 4 to vocabulary size - 2. The
  published script draws from all ids but BOS, so that a source may contain PAD or EOS.
* The published script rounds the number of insertions through a division and inserts
  one too many for 3 % of the pairs (length, number). Here exactly the drawn number is
  inserted.

A text here is the ids between BOS and EOS.
"""

import dataclasses
import math

import numpy as np

from elmer_jax.tokenizer.bpe import Vocabulary

_FIRST_ORDINARY_ID = 4  # after BOS, PAD, EOS and UNK; MASK is the last id
_UINT64_MAX = 2**64 - 1


@dataclasses.dataclass(frozen=True, eq=False)
class Corruption:
  """Parameters of `corrupt`, and the vocabulary's tables that it needs.

  Attributes:
    vocabulary_size: number of ids, MASK (the last one) included.
    word_starts: bool [V], the tokens that begin a word.
    full_stops: bool [V], the tokens that end a sentence.
    mask_ratio: ratio of the words that the spans cover in total.
    poisson_lambda: mean of the Poisson distribution of the span lengths, in words.
    random_ratio: ratio of the MASKs that are a random token instead.
  """

  vocabulary_size: int
  word_starts: np.ndarray
  full_stops: np.ndarray
  mask_ratio: float = 0.3
  poisson_lambda: float = 3.5
  random_ratio: float = 0.1

  @classmethod
  def from_vocabulary(cls, vocabulary: Vocabulary) -> "Corruption":
    """Returns the published corruption for texts of this vocabulary."""
    return cls(vocabulary.size, vocabulary.word_starts, vocabulary.full_stops)

  @property
  def mask_id(self) -> int:
    return self.vocabulary_size - 1


def example_rng(seed: int, index: int) -> np.random.Generator:
  """Returns the random generator of example `index`: a function of the two integers.

  Philox is a block cipher of its key, so neighbouring keys give independent streams
  and there is no state to carry from example to example.
  """
  return np.random.Generator(np.random.Philox(_Key(seed, index)))


class _Key(np.random.bit_generator.ISeedSequence):
  """Two integers as the key of Philox.

  `Philox(key=...)` gives the same stream, but spends most of its time on reading
  entropy from the operating system, which it doesn't use.
  """

  def __init__(self, seed: int, index: int):
    self._key = np.array([seed & _UINT64_MAX, index & _UINT64_MAX], np.uint64)

  def generate_state(self, n_words: int, dtype: type = np.uint32) -> np.ndarray:
    return self._key


def corrupt(
  ids: np.ndarray, rng: np.random.Generator, corruption: Corruption
) -> np.ndarray:
  """Returns a corrupted copy of a text: sentences shuffled, then words masked.

  Args:
    ids: integers [n], a text without BOS and EOS; not modified.
    rng: source of all randomness.
    corruption: the tables and the ratios.

  Returns:
    Integers [m] of the same dtype. Usually shorter than `ids`, but insertions can make
    it longer.
  """
  return infill(permute_sentences(ids, rng, corruption), rng, corruption)


def permute_sentences(
  ids: np.ndarray, rng: np.random.Generator, corruption: Corruption
) -> np.ndarray:
  """Returns the text [n] with its sentences in a uniformly random order.

  A sentence ends at a full stop that doesn't follow another full stop, and at the end
  of the text. A last token that follows a full stop is not a sentence and stays last.
  """
  if not len(ids):
    return ids
  stops = corruption.full_stops.take(ids)
  stops[-1] = True
  is_end = stops.copy()
  is_end[1:] &= ~stops[:-1]
  ends = is_end.nonzero()[0] + 1
  if len(ends) < 2:
    return ids
  lengths = ends.copy()
  lengths[1:] -= ends[:-1]
  order = rng.permutation(len(ends))
  permuted = lengths[order]
  # Token i of the result is token i + shift of the text; one shift per sentence.
  shifts = (ends - lengths)[order] - (permuted.cumsum() - permuted)
  result = ids.copy()
  result[: ends[-1]] = ids[np.arange(ends[-1]) + shifts.repeat(permuted)]
  return result


def infill(
  ids: np.ndarray, rng: np.random.Generator, corruption: Corruption
) -> np.ndarray:
  """Returns the text [n] with spans of whole words replaced by single MASKs [m].

  Each span begins at a distinct word start and ends after its number of words or at
  the end of the text. Spans may overlap: the MASK of a span that begins inside another
  span is removed with the tokens there. A text without word starts is returned
  unchanged.
  """
  starts = corruption.word_starts.take(ids).nonzero()[0]
  words = len(starts)
  if not words:
    return ids
  budget = math.ceil(corruption.mask_ratio * words)
  lengths = draw_span_lengths(budget, rng, corruption)
  insertions = len(lengths) - np.count_nonzero(lengths)
  lengths = lengths[lengths > 0]
  first_words = rng.permutation(words)[: len(lengths)]
  masked = starts[first_words]
  result = ids.copy()
  result[masked] = corruption.mask_id
  at_random = masked[rng.random(len(masked)) < corruption.random_ratio]
  result[at_random] = _random_ids(len(at_random), rng, corruption)

  # span_ends[i]: the last end of the spans that begin at or before i.
  span_ends = np.zeros(len(ids), starts.dtype)
  word_ends = np.concatenate([starts, [len(ids)]])
  span_ends[masked] = word_ends[np.minimum(first_words + lengths, words)]
  np.maximum.accumulate(span_ends, out=span_ends)
  kept = np.ones(len(ids), bool)
  kept[1:] = span_ends[:-1] <= np.arange(1, len(ids))
  result = result[kept]
  return insert_masks(result, insertions, rng, corruption) if insertions else result


def draw_span_lengths(
  budget: int, rng: np.random.Generator, corruption: Corruption
) -> np.ndarray:
  """Draws span lengths, in words, until their sum is `budget`; trims the last."""
  lengths = rng.poisson(corruption.poisson_lambda, 8 + budget // 3)
  while (total := lengths.cumsum())[-1] < budget:
    more = rng.poisson(corruption.poisson_lambda, 8 + budget // 3)
    lengths = np.concatenate([lengths, more])
  last = int(total.searchsorted(budget))
  lengths[last] -= total[last] - budget
  return lengths[: last + 1]


def insert_masks(
  ids: np.ndarray, number: int, rng: np.random.Generator, corruption: Corruption
) -> np.ndarray:
  """Returns the text [n + number] with MASKs inserted at random positions.

  `random_ratio` of them, rounded up, are random ids instead.
  """
  length = len(ids) + number
  positions = rng.permutation(length)[:number]
  is_old = np.ones(length, bool)
  is_old[positions] = False
  result = np.full(length, corruption.mask_id, ids.dtype)
  result[is_old] = ids
  at_random = positions[: math.ceil(number * corruption.random_ratio)]
  result[at_random] = _random_ids(len(at_random), rng, corruption)
  return result


def _random_ids(
  number: int, rng: np.random.Generator, corruption: Corruption
) -> np.ndarray:
  # Several times as fast as rng.integers for a few ids.
  ordinary = corruption.mask_id - _FIRST_ORDINARY_ID
  return (rng.random(number) * ordinary).astype(np.int64) + _FIRST_ORDINARY_ID
