# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""How the source text of LPLM pre-training is spoilt: one function for every door.

`corrupt` first shuffles the sentences of a window, then hides 30 % of its words
(text infilling): spans of whole words, their lengths drawn from a Poisson
distribution of mean 3.5, each leave one MASK behind; spans of length zero are MASKs
put between tokens; 10 % of the MASKs are a random token instead. The steps, and what
they do at the edges of a text, are those of the published ELMER script (a copy of
fairseq's denoising data set); tests/golden/corruption_stats.json holds what that
script was measured to do. Two differences are deliberate:

* Random tokens are drawn from the ordinary ids, 4 to vocabulary size - 2. The
  published script draws from all ids but BOS, so that now and then a PAD or an EOS
  stands in the middle of a source.
* The published script rounds the number of insertions through a division and gets
  one too many for 3 % of the pairs (length, number). Ours inserts what was drawn.

A text here is the ids between BOS and EOS.
"""

import dataclasses
import math

import numpy as np

from elmer_jax.tokenizer.bpe import Vocabulary

_FIRST_ORDINARY_ID = 4  # BOS, PAD, EOS and UNK stand below; MASK is the last id
_WORD = 2**64 - 1


@dataclasses.dataclass(frozen=True, eq=False)
class Corruption:
  """What `corrupt` has to know of the vocabulary, and how much it spoils.

  Attributes:
    vocabulary_size: number of ids, MASK (the last one) included.
    word_starts: bool [V], the tokens with which a word begins.
    full_stops: bool [V], the tokens after which a sentence ends.
    mask_share: share of the words that the spans cover together.
    span_mean: mean of the Poisson distribution of the span lengths, in words.
    random_share: share of the MASKs that are a random token instead.
  """

  vocabulary_size: int
  word_starts: np.ndarray
  full_stops: np.ndarray
  mask_share: float = 0.3
  span_mean: float = 3.5
  random_share: float = 0.1

  @classmethod
  def of(cls, vocabulary: Vocabulary) -> "Corruption":
    """Returns the published corruption for texts of this vocabulary."""
    return cls(vocabulary.size, vocabulary.word_starts, vocabulary.full_stops)

  @property
  def mask_id(self) -> int:
    return self.vocabulary_size - 1


def example_rng(seed: int, index: int) -> np.random.Generator:
  """Returns the random stream of example `index`: a function of the two integers.

  Philox is a block cipher of its key, so that neighbouring keys give independent
  streams and no state has to be carried from example to example.
  """
  return np.random.Generator(np.random.Philox(_Key(seed, index)))


class _Key(np.random.bit_generator.ISeedSequence):
  """Two integers as the key of Philox, as they are.

  `Philox(key=...)` gives the same stream, but first asks the operating system for
  entropy that it then doesn't use, which takes most of its time.
  """

  def __init__(self, seed: int, index: int):
    self._key = np.array([seed & _WORD, index & _WORD], np.uint64)

  def generate_state(self, n_words: int, dtype: type = np.uint32) -> np.ndarray:
    return self._key


def corrupt(
  ids: np.ndarray, rng: np.random.Generator, corruption: Corruption
) -> np.ndarray:
  """Returns a spoilt copy of a text: sentences shuffled, then words hidden.

  Args:
    ids: integers [n], a text without BOS and EOS. Left as it is.
    rng: all that is random comes from here.
    corruption: the tables and the shares.

  Returns:
    Integers [m] of the same dtype. Usually shorter than `ids`; insertions can make
    it longer.
  """
  return infill(permute_sentences(ids, rng, corruption), rng, corruption)


def permute_sentences(
  ids: np.ndarray, rng: np.random.Generator, corruption: Corruption
) -> np.ndarray:
  """Returns the text [n] with its sentences in a uniformly random order.

  A sentence ends with a full stop that follows no other full stop, and at the end of
  the text. A last token that follows a full stop is no sentence and stays where it
  is.
  """
  if not len(ids):
    return ids
  stops = corruption.full_stops.take(ids)
  stops[-1] = True
  ending = stops.copy()
  ending[1:] &= ~stops[:-1]
  ends = ending.nonzero()[0] + 1
  if len(ends) < 2:
    return ids
  lengths = ends.copy()
  lengths[1:] -= ends[:-1]
  order = rng.permutation(len(ends))
  moved = lengths[order]
  # Token i of the result is token i + shift of the text; one shift per sentence.
  shifts = (ends - lengths)[order] - (moved.cumsum() - moved)
  result = ids.copy()
  result[: ends[-1]] = ids[np.arange(ends[-1]) + shifts.repeat(moved)]
  return result


def infill(
  ids: np.ndarray, rng: np.random.Generator, corruption: Corruption
) -> np.ndarray:
  """Returns the text [n] with spans of whole words replaced by single MASKs [m].

  Every span begins at a word start of its own and runs over as many words as it is
  long, or to the end of the text. Spans may run into each other: a MASK inside
  another span vanishes with the tokens there. A text without any word start is
  returned as it is.
  """
  starts = corruption.word_starts.take(ids).nonzero()[0]
  words = len(starts)
  if not words:
    return ids
  lengths = _span_lengths(math.ceil(corruption.mask_share * words), rng, corruption)
  insertions = len(lengths) - np.count_nonzero(lengths)
  lengths = lengths[lengths > 0]
  first_words = rng.permutation(words)[: len(lengths)]
  masked = starts[first_words]
  result = ids.copy()
  result[masked] = corruption.mask_id
  at_random = masked[rng.random(len(masked)) < corruption.random_share]
  result[at_random] = _random_ids(len(at_random), rng, corruption)

  # reach[i]: where the farthest of the spans that begin at or before i ends.
  reach = np.zeros(len(ids), starts.dtype)
  ends = np.concatenate([starts, [len(ids)]])
  reach[masked] = ends[np.minimum(first_words + lengths, words)]
  np.maximum.accumulate(reach, out=reach)
  kept = np.ones(len(ids), bool)
  kept[1:] = reach[:-1] <= np.arange(1, len(ids))
  result = result[kept]
  return _insert(result, insertions, rng, corruption) if insertions else result


def _span_lengths(
  budget: int, rng: np.random.Generator, corruption: Corruption
) -> np.ndarray:
  """Draws span lengths, in words, until they add up to `budget`; trims the last."""
  lengths = rng.poisson(corruption.span_mean, 8 + budget // 3)
  while (total := lengths.cumsum())[-1] < budget:
    more = rng.poisson(corruption.span_mean, 8 + budget // 3)
    lengths = np.concatenate([lengths, more])
  last = int(total.searchsorted(budget))
  lengths[last] -= total[last] - budget
  return lengths[: last + 1]


def _insert(
  ids: np.ndarray, number: int, rng: np.random.Generator, corruption: Corruption
) -> np.ndarray:
  """Returns [n + number]: MASKs, and at least one random id, at random places."""
  length = len(ids) + number
  places = rng.permutation(length)[:number]
  is_old = np.ones(length, bool)
  is_old[places] = False
  result = np.full(length, corruption.mask_id, ids.dtype)
  result[is_old] = ids
  at_random = places[: math.ceil(number * corruption.random_share)]
  result[at_random] = _random_ids(len(at_random), rng, corruption)
  return result


def _random_ids(
  number: int, rng: np.random.Generator, corruption: Corruption
) -> np.ndarray:
  # Several times as fast as rng.integers for the few ids that are wanted.
  ordinary = corruption.mask_id - _FIRST_ORDINARY_ID
  return (rng.random(number) * ordinary).astype(np.int64) + _FIRST_ORDINARY_ID
