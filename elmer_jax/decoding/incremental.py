# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of every autoregressive search: settings, decoding step, token constraints.

With Hugging Face's semantics: the decoder starts from EOS, a token attends to those
before it through a cache of keys and values, and n-grams are those of the whole text.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from elmer_jax.core.ranges import Range, check_ranges
from elmer_jax.decoding.attention import KVCache, attend_cached, make_kv
from elmer_jax.decoding.layerwise_model import LayerwiseModel
from elmer_jax.model.decoder import DecoderLayer
from elmer_jax.model.layers import split_heads
from elmer_jax.objectives.autoregressive import START_ID
from elmer_jax.objectives.linear_cross_entropy import full_logits
from elmer_jax.tokenizer.special_ids import BOS_ID, EOS_ID, PAD_ID

NEVER = -jnp.inf  # the score of what must not be chosen


RANGES = {
  "beams": Range(1, 1024),
  "no_repeat_ngram": Range(0, 2**20),
  "min_length": Range(0, 2**20),
  "length_penalty": Range(-100, 100),
}


@dataclasses.dataclass(frozen=True)
class Search:
  """Settings of a search; Hugging Face's names in brackets."""

  beams: int = 1  # 1: greedy (num_beams)
  no_repeat_ngram: int = 0  # no n-gram of this size twice; 0: any (…_size)
  min_length: int = 0  # no EOS before this many tokens, the start included (same name)
  length_penalty: float = 1.0  # a sum of log-probabilities is divided by length ** this
  early_stopping: bool = False  # stop once there are as many complete texts as beams
  forced_bos: bool = True  # the first token is BOS (forced_bos_token_id)
  forced_eos: bool = True  # the last possible one is EOS (forced_eos_token_id)

  def __post_init__(self):
    check_ranges(dataclasses.asdict(self), RANGES)


class Sequences(NamedTuple):
  """Texts of every source, the best first; PAD after EOS."""

  ids: jax.Array  # [B, beams, T] int32
  # [B, beams] float32: the sum of the log-probabilities over length ** length_penalty
  scores: jax.Array
  log_probability: jax.Array  # [B, beams, T] float32, of each token, in nats


@dataclasses.dataclass(frozen=True)
class StepDecoder:
  """The decoder run one position at a time for a batch of sources."""

  model: LayerwiseModel
  source_kv: list[KVCache]  # of each layer's cross-attention
  mask_BxS: jax.Array

  @classmethod
  def start(cls, model: LayerwiseModel, source_ids_BxS: jax.Array) -> "StepDecoder":
    encoded_BxSxD, mask_BxS = model.encode(source_ids_BxS)
    source_kv = [
      make_kv(layer.cross_attention, encoded_BxSxD) for layer in model.decoder.layers
    ]
    return cls(model, source_kv, mask_BxS)

  def empty_cache(self, rows: int, length: int) -> list[KVCache]:
    """Returns each layer's cache for `length` positions of `rows` texts."""
    keys_BxHxSxK = self.source_kv[0].keys_BxHxSxK
    _, heads, _, size = keys_BxHxSxK.shape
    zeros = jnp.zeros((rows, heads, length, size), keys_BxHxSxK.dtype)
    return [KVCache(zeros, zeros) for _ in self.source_kv]

  def decode_step(
    self, ids_N: jax.Array, position: jax.Array, cache: list[KVCache]
  ) -> tuple[jax.Array, list[KVCache]]:
    """Runs one more token of every text; returns the next one's logits [N, V].

    Args:
      ids_N: int32 tokens; N is a multiple of B, and texts of a source are adjacent.
      position: [] int32, of these tokens, from 0.
      cache: keys and values of the positions before, as the last step returned them.
    """
    model = self.model
    hidden_Nx1xD = model.decoder.embedding(
      model.tokens[...], ids_N[:, None], None, position
    )
    new_cache = []
    for layer, past, source in zip(
      model.decoder.layers, cache, self.source_kv, strict=True
    ):
      hidden_Nx1xD, past = _layer_step(
        layer, hidden_Nx1xD, position, past, source, self.mask_BxS
      )
      new_cache.append(past)
    states_NxD = model.off_ramp(hidden_Nx1xD)[:, 0]
    return full_logits(states_NxD, model.head()), new_cache


def _layer_step(
  layer: DecoderLayer,
  hidden_Nx1xD: jax.Array,
  position: jax.Array,
  past: KVCache,
  source: KVCache,
  source_mask_BxS: jax.Array,
) -> tuple[jax.Array, KVCache]:
  """Runs a causal layer for one position; returns its state and the extended cache."""

  def attend_past(x_Nx1xD):
    nonlocal past
    attention = layer.attention
    queries_Nx1xHxK, *new = (
      split_heads(project(x_Nx1xD), attention.heads)
      for project in (attention.query, attention.key, attention.value)
    )
    past = KVCache(
      *(
        jax.lax.dynamic_update_slice_in_dim(kept, one.swapaxes(1, 2), position, 2)
        for kept, one in zip(past, new, strict=True)
      )
    )
    mask_T = jnp.arange(past.keys_BxHxSxK.shape[2]) <= position
    mixed = attend_cached(queries_Nx1xHxK, past, mask_T[None, None, None])
    return attention.out(mixed.reshape(x_Nx1xD.shape))

  def attend_source(x_Nx1xD):
    # The texts of a source are queries to the same keys, which need no copies.
    attention = layer.cross_attention
    x_BxNxD = x_Nx1xD.reshape(len(source_mask_BxS), -1, x_Nx1xD.shape[-1])
    queries = split_heads(attention.query(x_BxNxD), attention.heads)
    mixed = attend_cached(queries, source, source_mask_BxS[:, None, None])
    return attention.out(mixed.reshape(x_BxNxD.shape)).reshape(x_Nx1xD.shape)

  return layer.apply_branches(hidden_Nx1xD, attend_past, attend_source), past


def blank(rows: int, length: int) -> jax.Array:
  """Returns ids [rows, 1 + length]: the decoder's start token, then PAD."""
  return jnp.full((rows, 1 + length), PAD_ID, jnp.int32).at[:, 0].set(START_ID)


def constrain(
  scores_NxV: jax.Array,
  ids_NxT: jax.Array,
  count: jax.Array,
  length: int,
  search: Search,
) -> jax.Array:
  """Sets the scores of tokens that must not come next to `NEVER`.

  Args:
    scores_NxV: of every next token.
    ids_NxT: the texts so far, after the decoder's start token.
    count: [] int32, the number of their tokens.
    length: the largest number of tokens.
    search: the settings.
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
  """Excludes tokens that would repeat an n-gram of the first `known` ids."""
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
