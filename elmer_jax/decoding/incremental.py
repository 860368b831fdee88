# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What every autoregressive search is made of: its settings, a step, what is barred.

With Hugging Face's semantics: the decoder starts from EOS, every token sees those
before it through a cache of keys and values, and the whole text counts for n-grams.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from elmer_jax.core.errors import UserError
from elmer_jax.decoding.cpu import encoder_groups
from elmer_jax.model.decoder import DecoderLayer
from elmer_jax.model.elmer import Elmer
from elmer_jax.model.layers import Cached
from elmer_jax.model.stack import unstack
from elmer_jax.objectives.autoregressive import START_ID
from elmer_jax.objectives.linear_cross_entropy import full_logits
from elmer_jax.tokenizer.special_ids import BOS_ID, EOS_ID, PAD_ID

NEVER = -jnp.inf  # the score of what must not be chosen


@dataclasses.dataclass(frozen=True)
class Search:
  """How texts are searched. In brackets what Hugging Face calls it."""

  beams: int = 1  # 1: greedy (num_beams)
  no_repeat_ngram: int = 0  # no n-gram of this size twice; 0: any (…_size)
  min_length: int = 0  # no EOS before so many tokens, the start included (same name)
  length_penalty: float = 1.0  # a sum of log-probabilities is divided by length ** this
  early_stopping: bool = False  # stop once there are as many texts as beams
  forced_bos: bool = True  # the first token is BOS (forced_bos_token_id)
  forced_eos: bool = True  # the last possible one is EOS (forced_eos_token_id)

  def __post_init__(self):
    if self.beams < 1:
      raise UserError(f"beams must be at least 1; it is {self.beams}")
    if self.no_repeat_ngram < 0:
      raise UserError(f"no_repeat_ngram is 0 or more; it is {self.no_repeat_ngram}")


class Sequences(NamedTuple):
  """Texts of every source, the best first; PAD behind EOS."""

  ids: jax.Array  # [B, beams, T] int32
  # [B, beams] float32: the sum of the log-probabilities over length ** length_penalty
  scores: jax.Array
  log_probability: jax.Array  # [B, beams, T] float32, of each token, in nats


@dataclasses.dataclass(frozen=True)
class Writer:
  """The decoder as one step after another, for the sources it was started with."""

  model: Elmer
  layers: list[DecoderLayer]
  sources: list[Cached]  # of every layer
  mask_BxS: jax.Array

  @classmethod
  def start(cls, model: Elmer, source_ids_BxS: jax.Array) -> "Writer":
    encoded_BxSxD, mask_BxS = encoder_groups.read(model, source_ids_BxS)
    layers = unstack(model.decoder.layers, model.config.decoder_layers)
    remembered = [layer.cross_attention.remember(encoded_BxSxD) for layer in layers]
    return cls(model, layers, remembered, mask_BxS)

  def empty_cache(self, rows: int, length: int) -> list[Cached]:
    """Returns room for `length` positions of `rows` texts, in every layer."""
    _, heads, _, width = self.sources[0].keys.shape
    room = jnp.zeros((rows, heads, length, width), self.sources[0].keys.dtype)
    return [Cached(room, room) for _ in self.layers]

  def step(
    self, ids_N: jax.Array, position: jax.Array, cache: list[Cached]
  ) -> tuple[jax.Array, list[Cached]]:
    """Reads one more token of every text; returns the next one's logits [N, V].

    N is a multiple of B: texts of one source stand side by side.
    """
    model = self.model
    hidden_Nx1xD = model.decoder.embedding(
      model.tokens[...], ids_N[:, None], None, position
    )
    extended = []
    for layer, past, source in zip(self.layers, cache, self.sources, strict=True):
      hidden_Nx1xD, past = layer.extend(
        hidden_Nx1xD, position, past, source, self.mask_BxS
      )
      extended.append(past)
    states_NxD = model.decoder.off_ramp(hidden_Nx1xD)[:, 0]
    return full_logits(states_NxD, model.head()), extended


def blank(rows: int, length: int) -> jax.Array:
  """Returns [rows, 1 + length]: the decoder's start, and PAD where nothing is yet."""
  return jnp.full((rows, 1 + length), PAD_ID, jnp.int32).at[:, 0].set(START_ID)


def constrain(
  scores_NxV: jax.Array,
  ids_NxT: jax.Array,
  count: jax.Array,
  length: int,
  search: Search,
) -> jax.Array:
  """Takes away what must not come next.

  Args:
    scores_NxV: of every next token.
    ids_NxT: the texts so far, behind the decoder's start.
    count: how many tokens of them are written.
    length: how many may be.
    search: the rules.
  """
  if search.no_repeat_ngram:
    scores_NxV = _without_repeated_ngrams(
      scores_NxV, ids_NxT, count + 1, search.no_repeat_ngram
    )
  ids_1xV = jnp.arange(scores_NxV.shape[1])[None]
  too_short = count + 1 < search.min_length
  scores_NxV = jnp.where(too_short & (ids_1xV == EOS_ID), NEVER, scores_NxV)
  if search.forced_bos:
    only_bos_1xV = jnp.where(ids_1xV == BOS_ID, 0.0, NEVER)
    scores_NxV = jnp.where(count == 0, only_bos_1xV, scores_NxV)
  if search.forced_eos:
    only_eos_1xV = jnp.where(ids_1xV == EOS_ID, 0.0, NEVER)
    scores_NxV = jnp.where(count == length - 1, only_eos_1xV, scores_NxV)
  return scores_NxV


def _without_repeated_ngrams(scores_NxV, ids_NxT, known, size: int) -> jax.Array:
  """Forbids tokens that would end an n-gram which the `known` first ids have."""
  context = size - 1
  starts = ids_NxT.shape[1] - context
  start = jnp.maximum(known - context, 0)
  last_NxC = jax.lax.dynamic_slice_in_dim(ids_NxT, start, context, 1)
  follows_NxW = (jnp.arange(starts) + context < known)[None]
  for offset in range(context):
    same_NxW = ids_NxT[:, offset : offset + starts] == last_NxC[:, offset : offset + 1]
    follows_NxW = follows_NxW & same_NxW
  next_NxW = jnp.where(follows_NxW, ids_NxT[:, context:], scores_NxV.shape[1])
  rows_Nx1 = jnp.arange(len(ids_NxT))[:, None]
  return scores_NxV.at[rows_Nx1, next_NxW].set(NEVER, mode="drop")
