# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Splits the ids of a document into training windows that are nearly full.

Windows are consecutive, without gaps or overlap: concatenated, they are the document.
"""

import dataclasses

import numpy as np

from elmer_jax.tokenizer.bpe import Vocabulary

# A window ends at the end of a sentence if it is then filled to at least this ratio,
# otherwise between two words. On Wikipedia and books, windows of 510 ids:
#
#     ratio   padding   windows that end with a sentence
#     0.75     6.9 %     98 %
#     0.90     5.8 %     90 %
#     0.96     4.2 %     64 %
MIN_FILL = 0.96

# The last window of a document takes words from the one before if it would be shorter
# than this.
MIN_LAST_WINDOW = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Boundaries:
  """Where a text may be split, as properties of the tokens of a vocabulary.

  Attributes:
    word_starts: bool [V], a text may be split before this token.
    full_stops: bool [V], the token ends a sentence if a word starts after it.
    newlines: bool [V], the token begins with a line break; a text may be split after
      the last of consecutive ones.
  """

  word_starts: np.ndarray
  full_stops: np.ndarray
  newlines: np.ndarray

  @classmethod
  def from_vocabulary(cls, vocabulary: Vocabulary) -> "Boundaries":
    newlines = np.zeros(vocabulary.size, bool)
    for i in np.flatnonzero(vocabulary.word_starts):
      newlines[i] = vocabulary.decode([i]).startswith("\n")
    return cls(vocabulary.word_starts, vocabulary.full_stops, newlines)


def split_into_windows(
  ids: np.ndarray, boundaries: Boundaries, length: int
) -> list[np.ndarray]:
  """Returns the windows of a document, each a view of at most `length` ids.

  A window holds as many whole sentences or lines as fit. If they fill less than
  MIN_FILL of it, the next sentence is split between two words; a word longer than a
  window is split at any token.

  Args:
    ids: integers [n], a document without BOS and EOS.
    boundaries: where the text may be split.
    length: ids in a full window, at least 1.
  """
  ends = _window_ends(ids, boundaries, length)
  return [ids[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _window_ends(ids: np.ndarray, boundaries: Boundaries, length: int) -> list[int]:
  n = len(ids)
  if n <= length:
    return [n] if n else []
  last_sentence_end, last_word_end = _last_split_points(ids, boundaries)
  min_length = int(MIN_FILL * length)
  min_last_length = min(MIN_LAST_WINDOW, length)
  ends = [0]
  while n - ends[-1] > length:
    start = ends[-1]
    limit = min(start + length, n - min_last_length)
    end = last_sentence_end[limit]
    if end < start + min_length:
      end = last_word_end[limit]
    ends.append(int(end) if end > start else limit)
  return [*ends[1:], n]


def _last_split_points(
  ids: np.ndarray, boundaries: Boundaries
) -> tuple[np.ndarray, np.ndarray]:
  """Returns for each i the last split point up to i; split point i is before token i.

  Returns:
    Two arrays [n]: split points between sentences or lines, and between words. 0 if
    there is none.
  """
  word_starts = boundaries.word_starts.take(ids)
  newlines = boundaries.newlines.take(ids)
  sentence_ends = boundaries.full_stops.take(ids[:-1]) & word_starts[1:]
  positions = np.arange(len(ids), dtype=np.int32)
  # Line breaks belong to the sentence before them.
  between_sentences = np.append(False, (sentence_ends | newlines[:-1]) & ~newlines[1:])
  between_words = between_sentences | (word_starts & ~newlines)
  return tuple(
    np.maximum.accumulate(np.where(is_split_point, positions, 0))
    for is_split_point in (between_sentences, between_words)
  )
