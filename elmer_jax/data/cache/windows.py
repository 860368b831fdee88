# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Cuts the ids of a document into training windows that are nearly full.

Windows follow each other without gap or overlap, so that the windows of a document,
put together, are the document: nothing is lost.
"""

import dataclasses

import numpy as np

from elmer_jax.tokenizer.bpe import Vocabulary

# A window ends with a sentence where that leaves at least this share of it filled, and
# between two words where it doesn't. On Wikipedia and books, windows of 510 ids:
#
#     share   padding   windows that end with a sentence
#     0.75     6.9 %     98 %
#     0.90     5.8 %     90 %
#     0.96     4.2 %     64 %
FULL_ENOUGH = 0.96

# The last window of a document takes words from the one before it rather than be
# shorter than this. Only a document that is shorter itself makes such a window.
SHORTEST = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Boundaries:
  """Where the tokens of a vocabulary let a text be cut.

  Attributes:
    word_starts: bool [V], a text may be cut in front of this token.
    full_stops: bool [V], the token ends a sentence if a word starts after it.
    newlines: bool [V], the token begins with a line break; a text is cut after a run
      of these.
  """

  word_starts: np.ndarray
  full_stops: np.ndarray
  newlines: np.ndarray

  @classmethod
  def of(cls, vocabulary: Vocabulary) -> "Boundaries":
    newlines = np.zeros(vocabulary.size, bool)
    for i in np.flatnonzero(vocabulary.word_starts):
      newlines[i] = vocabulary.decode([i]).startswith("\n")
    return cls(vocabulary.word_starts, vocabulary.full_stops, newlines)


def windows(ids: np.ndarray, boundaries: Boundaries, length: int) -> list[np.ndarray]:
  """Returns the windows of a document, each a view of at most `length` ids.

  As many whole sentences or lines as fit are joined. If they fill less than
  FULL_ENOUGH of the window, the next sentence is cut at a word start; a word longer
  than a window is cut anywhere.

  Args:
    ids: integers [n], a document without BOS and EOS.
    boundaries: the tables of the vocabulary.
    length: ids in a full window, at least 1.
  """
  ends = _ends(ids, boundaries, length)
  return [ids[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _ends(ids: np.ndarray, boundaries: Boundaries, length: int) -> list[int]:
  n = len(ids)
  if n <= length:
    return [n] if n else []
  sentence_cut, word_cut = _last_cuts(ids, boundaries)
  enough = int(FULL_ENOUGH * length)
  shortest = min(SHORTEST, length)
  ends = [0]
  while n - ends[-1] > length:
    start = ends[-1]
    limit = min(start + length, n - shortest)
    cut = sentence_cut[limit]
    if cut < start + enough:
      cut = word_cut[limit]
    ends.append(int(cut) if cut > start else limit)
  return [*ends[1:], n]


def _last_cuts(
  ids: np.ndarray, boundaries: Boundaries
) -> tuple[np.ndarray, np.ndarray]:
  """For each place i in the text, the last place up to i where it may be cut.

  A place i is in front of token i.

  Returns:
    Two arrays [n]: cuts between sentences or lines, and cuts between words. 0 where
    there is none.
  """
  word_starts = boundaries.word_starts.take(ids)
  newlines = boundaries.newlines.take(ids)
  may_end = boundaries.full_stops.take(ids[:-1]) & word_starts[1:]
  places = np.arange(len(ids), dtype=np.int32)
  # The line breaks after a sentence go with it.
  between_sentences = np.append(False, (may_end | newlines[:-1]) & ~newlines[1:])
  between_words = between_sentences | (word_starts & ~newlines)
  return tuple(
    np.maximum.accumulate(np.where(mark, places, 0))
    for mark in (between_sentences, between_words)
  )
