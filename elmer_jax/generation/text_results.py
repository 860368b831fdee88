# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of source ids in, texts out: in one pass, or token by token."""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np

from elmer_jax.decoding import autoregressive, one_pass
from elmer_jax.decoding.gate import gated_decoding
from elmer_jax.decoding.incremental import Search
from elmer_jax.generation.model import Model
from elmer_jax.tokenizer.special_ids import BOS_ID


@dataclasses.dataclass(frozen=True)
class OnePass:
  """How texts are written in one pass."""

  exit: str  # one of `one_pass.EXITS`, or "gated"
  threshold: float  # of hard and gated exit
  shortlist: int  # tokens that soft exit guesses from; 0: all
  length: int  # target positions
  details: bool  # whether more is wanted than ids


@dataclasses.dataclass(frozen=True)
class Result:
  """One generated text; the arrays have an entry for each of its tokens.

  Without details, `exit_layers`, `confidence` and `by_layer` are None. (Token by token
  they cost nothing, and are there always.)
  """

  text: str
  token_ids: np.ndarray  # [n] int32, up to EOS, EOS not included
  # [n] int32, 0-based: with hard exit the layer at which a token left, otherwise the
  # one from which on its prediction stayed the same; gated: where the text stopped
  exit_layers: np.ndarray | None = None
  # [n] float32, the probability where it left or at the last layer
  confidence: np.ndarray | None = None
  # [L, n] int32, every layer's predictions; autoregressive and gated: [1, n]
  by_layer: np.ndarray | None = None
  removed_repeats: int = 0  # tokens that were left out: see `without_repeats`


def without_repeats(model: Model, result: Result) -> Result:
  """Leaves out the tokens that repeat their left neighbour.

  Positions that are predicted side by side often agree on one word: "the the".
  """
  kept = one_pass.without_repeats(result.token_ids)
  return dataclasses.replace(
    _tokens(model, result, kept),
    removed_repeats=result.removed_repeats + int((~kept).sum()),
  )


def emptied(model: Model, result: Result) -> Result:
  """Returns the result that a blank source has."""
  return _first_tokens(model, result, 0)


def in_one_pass(
  model: Model,
  rows_BxS: np.ndarray,
  how: OnePass,
  oracle_lengths_B: np.ndarray | None = None,
) -> Iterator[Result]:
  """Yields a result for each row, with every token before EOS."""
  decoded = _decode(model, rows_BxS, how, oracle_lengths_B)
  details = _details(decoded) if how.details else itertools.repeat(())
  for ids_T, details_T in zip(np.asarray(decoded.ids), details, strict=False):
    every = Result("", ids_T, *details_T)
    yield _first_tokens(model, every, one_pass.text_length(ids_T))


def _decode(
  model: Model, rows_BxS: np.ndarray, how: OnePass, oracle_lengths_B: np.ndarray | None
) -> one_pass.Decoded:
  common = {"length": how.length, "details": how.details, "threshold": how.threshold}
  if how.exit != "gated":
    return one_pass.decode(
      model.config,
      model.prepared,
      rows_BxS,
      exit=how.exit,
      shortlist=how.shortlist,
      oracle_lengths_B=oracle_lengths_B,
      **common,
    )
  within = model.within_gate
  found = gated_decoding.decode(
    within.config,
    within.prepared,
    model.gate.gate,
    source_ids_BxS=rows_BxS,
    trim=model.gate.trim,
    **common,
  )
  layers_BxT = np.broadcast_to(np.asarray(found.layers)[:, None] - 1, found.ids.shape)
  return one_pass.Decoded(found.ids, found.log_probability, found.ids[None], layers_BxT)


def _details(decoded: one_pass.Decoded) -> Iterator[tuple[np.ndarray, ...]]:
  """Yields each row's exit layers, confidences and predictions by layer."""
  by_layer_BxLxT = np.asarray(decoded.by_layer).swapaxes(0, 1)
  if decoded.exit_layers is None:
    exit_layers_BxT = map(one_pass.last_change, by_layer_BxLxT)
  else:
    exit_layers_BxT = np.asarray(decoded.exit_layers)
  confidence_BxT = np.exp(np.asarray(decoded.log_probability))
  return zip(exit_layers_BxT, confidence_BxT, by_layer_BxLxT, strict=True)


def token_by_token(
  model: Model, rows_BxS: np.ndarray, length: int, search: Search
) -> Iterator[Result]:
  """Yields the best text of each row, of so many tokens at most."""
  found = autoregressive.decode(
    model.config, model.prepared, rows_BxS, length=length + 1, search=search
  )
  best_BxT = np.asarray(found.ids[:, 0])
  confidence_BxT = np.exp(np.asarray(found.log_probability[:, 0]))
  for ids_T, confidence_T in zip(best_BxT, confidence_BxT, strict=True):
    start = int(ids_T[0] == BOS_ID)  # is no part of the text
    ids_T, confidence_T = ids_T[start:], confidence_T[start:]
    last_T = np.full(len(ids_T), model.config.decoder_layers - 1)
    every = Result("", ids_T, last_T, confidence_T, ids_T[None])
    yield _first_tokens(model, every, one_pass.text_length(ids_T))


def _first_tokens(model: Model, result: Result, count: int) -> Result:
  return _tokens(model, result, np.arange(len(result.token_ids)) < count)


def _tokens(model: Model, result: Result, kept: np.ndarray) -> Result:
  """Returns what a result says at the tokens where `kept` is true."""

  def of_kept(array: np.ndarray | None) -> np.ndarray | None:
    return None if array is None else array[..., kept]

  ids = result.token_ids[kept]
  return Result(
    model.vocabulary.decode(ids),
    ids,
    of_kept(result.exit_layers),
    of_kept(result.confidence),
    of_kept(result.by_layer),
    result.removed_repeats,
  )
