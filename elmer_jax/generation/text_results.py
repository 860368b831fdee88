# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Generated texts: from the arrays of a decoding strategy to one result a text."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from elmer_jax.decoding.decoded import (
  Decoded,
  is_no_repeat,
  stable_layers,
  text_length,
)
from elmer_jax.tokenizer.bpe import Vocabulary


@dataclasses.dataclass(frozen=True)
class Result:
  """One generated text; the arrays have an entry for each of its tokens.

  The fields mean the same for every strategy. Layers count from 1. Without details all
  fields but the text and its ids are None; `stable_layers` and `by_layer` are None too
  for strategies that read a single layer (gated, autoregressive).
  """

  text: str
  token_ids: np.ndarray  # [n] int32, without EOS
  # [n] int32: the decoder layer whose state gave the token: the last one, unless the
  # token or the text exited below it.
  exit_layers: np.ndarray | None = None
  # [n] int32: the first layer from which the prediction stays the same.
  stable_layers: np.ndarray | None = None
  confidence: np.ndarray | None = None  # [n] float32, probability at the exit layer
  by_layer: np.ndarray | None = None  # [L, n] int32, the prediction after each layer
  removed_repeats: int = 0  # tokens removed by `without_repeats`


def results(decoded: Decoded, vocabulary: Vocabulary) -> Iterator[Result]:
  """Yields a result for each row, with the tokens before EOS."""
  arrays = [None if array is None else np.asarray(array) for array in decoded]
  ids_BxT, log_probability_BxT, exit_layers_BxT, by_layer_LxBxT = arrays
  for row, ids_T in enumerate(ids_BxT):
    text = slice(text_length(ids_T))
    result = Result(vocabulary.decode(ids_T[text]), ids_T[text])
    if exit_layers_BxT is not None:
      result = dataclasses.replace(
        result,
        exit_layers=exit_layers_BxT[row, text] + 1,
        confidence=np.exp(log_probability_BxT[row, text]),
      )
    if by_layer_LxBxT is not None:
      by_layer_LxN = by_layer_LxBxT[:, row, text]
      result = dataclasses.replace(
        result, stable_layers=stable_layers(by_layer_LxN) + 1, by_layer=by_layer_LxN
      )
    yield result


def without_repeats(vocabulary: Vocabulary, result: Result) -> Result:
  """Removes the tokens that equal their left neighbour.

  Neighbouring positions that are predicted in parallel often agree on one word: "the
  the".
  """
  kept_N = is_no_repeat(result.token_ids)
  removed = result.removed_repeats + int((~kept_N).sum())
  return _select(vocabulary, result, kept_N, removed)


def empty(vocabulary: Vocabulary, result: Result) -> Result:
  """Returns the result of a blank source: no tokens."""
  return _select(vocabulary, result, np.zeros(len(result.token_ids), bool), 0)


def _select(
  vocabulary: Vocabulary, result: Result, kept_N: np.ndarray, removed: int
) -> Result:
  """Returns the part of a result at the tokens where `kept_N` is true."""

  def select(array: np.ndarray | None) -> np.ndarray | None:
    return None if array is None else array[..., kept_N]

  ids = result.token_ids[kept_N]
  return Result(
    text=vocabulary.decode(ids),
    token_ids=ids,
    exit_layers=select(result.exit_layers),
    stable_layers=select(result.stable_layers),
    confidence=select(result.confidence),
    by_layer=select(result.by_layer),
    removed_repeats=removed,
  )
