# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Source texts as rows of ids: truncated to the model's length, padded to a bucket."""

from collections.abc import Sequence

import numpy as np
from absl import logging

from elmer_jax.tokenizer import mask_text
from elmer_jax.tokenizer.bpe import Vocabulary
from elmer_jax.tokenizer.special_ids import BOS_ID, EOS_ID, PAD_ID

_STEP = 64  # rows are padded to a multiple of this many tokens


class SourceRows:
  """Encodes texts as rows of ids [B, S], and counts those that were truncated.

  Args:
    vocabulary: the model's.
    longest: the most tokens of a source, BOS and EOS included.
    has_masks: whether `<mask>` in a text is the mask token.
  """

  def __init__(self, vocabulary: Vocabulary, longest: int, has_masks: bool):
    self._vocabulary, self._longest, self._has_masks = vocabulary, longest, has_masks
    self._truncated = 0

  def rows(self, texts: Sequence[str], count: int) -> np.ndarray:
    """Returns int32 [count, S]; rows after those of the texts are empty sources.

    S is a multiple of 64, so that few programs are compiled.
    """
    room = self._longest - 2
    encoded = [self._encode(text) for text in texts]
    self._truncated += sum(len(ids) > room for ids in encoded)
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

  def log_truncated(self) -> None:
    """Logs how many texts were too long, once."""
    if self._truncated:
      logging.warning(
        "sources longer than %d tokens, truncated: %d",
        self._longest - 2,
        self._truncated,
      )
