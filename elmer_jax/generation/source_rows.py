# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Texts as rows of ids, for decoding: cut where too long, padded to a bucket."""

from collections.abc import Sequence

import numpy as np
from absl import logging

from elmer_jax.tokenizer import mask_text
from elmer_jax.tokenizer.bpe import Vocabulary
from elmer_jax.tokenizer.special_ids import BOS_ID, EOS_ID, PAD_ID

_STEP = 64  # tokens; rows are padded to a multiple of this


class SourceRows:
  """Turns texts into rows of ids [B, S], and counts what had to be cut.

  Args:
    vocabulary: the model's.
    longest: tokens that a source may have, BOS and EOS included.
    has_masks: whether `<mask>` in a text stands for the mask token.
  """

  def __init__(self, vocabulary: Vocabulary, longest: int, has_masks: bool):
    self._vocabulary, self._longest, self._has_masks = vocabulary, longest, has_masks
    self._cut = 0

  def rows(self, texts: Sequence[str], count: int) -> np.ndarray:
    """Returns int32 [count, S]; rows beyond the texts are empty sources.

    S is one of few lengths, so that few programs are compiled.
    """
    room = self._longest - 2
    encoded = [self._encode(text) for text in texts]
    self._cut += sum(len(ids) > room for ids in encoded)
    longest = min(max(map(len, encoded)), room) + 2
    length = min(-(-longest // _STEP) * _STEP, self._longest)
    rows = np.full((count, length), PAD_ID, np.int32)
    rows[:, 0] = BOS_ID
    rows[:, 1] = EOS_ID
    for row, ids in zip(rows, encoded, strict=False):
      ids = ids[:room]
      row[1 : 1 + len(ids)] = ids
      row[1 + len(ids)] = EOS_ID
    return rows

  def _encode(self, text: str) -> np.ndarray:
    if self._has_masks:
      return mask_text.encode(self._vocabulary, text)
    return self._vocabulary.encode(text)

  def say_cut(self) -> None:
    """Tells once how many texts were too long."""
    if self._cut:
      logging.warning(
        "%d texts were longer than %d tokens and were cut", self._cut, self._longest - 2
      )
