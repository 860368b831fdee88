# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Text in which `<mask>` is the mask token, as input of a pre-trained model.

White space before a mask belongs to the mask, as in BART's tokenizer: corruption, too,
replaces a word together with the space before it.
"""

import numpy as np

from elmer_jax.tokenizer.bpe import Vocabulary
from elmer_jax.tokenizer.special_ids import MASK_TOKEN


def encode(vocabulary: Vocabulary, text: str) -> np.ndarray:
  """Returns the ids of a text, int32 [n], with the mask's id for each `<mask>`."""
  *before, last = text.split(MASK_TOKEN)
  pieces = [vocabulary.encode(piece.rstrip()) for piece in before]
  pieces.append(vocabulary.encode(last))
  mask = np.array([vocabulary.mask_id], np.int32)
  joined = [part for piece in pieces for part in (mask, piece)][1:]
  return np.concatenate(joined).astype(np.int32)


def decode(vocabulary: Vocabulary, ids: np.ndarray) -> str:
  """Returns the text of ids [n], with `<mask>` for each mask id."""
  runs = np.split(ids, np.flatnonzero(ids == vocabulary.mask_id))
  return MASK_TOKEN.join(vocabulary.decode(run) for run in runs)
