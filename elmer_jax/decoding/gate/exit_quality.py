# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Quality of the texts of all layers, by which a gate's threshold is chosen."""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from elmer_jax.decoding.decoded import is_no_repeat, text_length
from elmer_jax.metrics import text_metrics
from elmer_jax.tokenizer.bpe import Vocabulary

MEASURES = ("rougeL", "agreement")

# (index of the source, ids of its texts [K, T]) → 0 to 100 for each text [K]. The last
# text is that of all layers and positions.
Quality = Callable[[int, np.ndarray], Sequence[float]]


def make(measure: str, vocabulary: Vocabulary, targets_NxT: np.ndarray) -> Quality:
  """Returns one of MEASURES.

  Args:
    measure: "rougeL" against the reference, with repeats removed as by default; or
      "agreement" with the last text, token by token.
    vocabulary: of the ids.
    targets_NxT: the references' ids.
  """
  if measure == "agreement":
    return lambda number, ids_KxT: [agreement(ids_T, ids_KxT[-1]) for ids_T in ids_KxT]

  @functools.lru_cache(2**10)
  def rouge_l(reference: str, text: str) -> float:
    return text_metrics.rouge([reference], [text])["rougeL"]

  def rate(number: int, ids_KxT: np.ndarray) -> list[float]:
    reference = vocabulary.decode(_before_eos(targets_NxT[number]))
    return [rouge_l(reference, text(vocabulary, ids_T)) for ids_T in ids_KxT]

  return rate


def text(vocabulary: Vocabulary, ids_T: np.ndarray) -> str:
  """Returns the text before EOS, with repeats removed."""
  ids = _before_eos(ids_T)
  return vocabulary.decode(ids[is_no_repeat(ids)])


def agreement(ids_T: np.ndarray, final_T: np.ndarray) -> float:
  """Returns the percentage of equal positions up to the later EOS."""
  count = 1 + max(text_length(ids_T), text_length(final_T))
  return 100 * float((ids_T[:count] == final_T[:count]).mean())


def _before_eos(ids_T: np.ndarray) -> np.ndarray:
  return ids_T[: text_length(ids_T)]
