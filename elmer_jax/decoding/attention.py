# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Attention with a cache of keys and values."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from elmer_jax.model import layers
from elmer_jax.model.layers import split_heads

MASKED = -1e30  # score of masked positions; finite, so that no row becomes NaN


class KVCache(NamedTuple):
  """Keys and values of S positions for one attention, heads before positions."""

  keys_BxHxSxK: jax.Array
  values_BxHxSxK: jax.Array


def make_kv(attention: layers.Attention, memory_BxSxD: jax.Array) -> KVCache:
  """Returns the keys and values of a memory, computed once for all steps."""
  keys_BxSxHxK = split_heads(attention.key(memory_BxSxD), attention.heads)
  values_BxSxHxK = split_heads(attention.value(memory_BxSxD), attention.heads)
  return KVCache(keys_BxSxHxK.swapaxes(1, 2), values_BxSxHxK.swapaxes(1, 2))


def attend_cached(
  queries_BxTxHxK: jax.Array, cache: KVCache, mask_BxHxTxS: jax.Array
) -> jax.Array:
  """Returns [B, T, H, K]; no axis of the cache is moved.

  Args:
    queries_BxTxHxK: not yet scaled.
    cache: keys and values of S positions.
    mask_BxHxTxS: bool, of any shape that broadcasts to this one; false is masked.
  """
  scores_BxHxTxS = jnp.einsum(
    "bthk,bhsk->bhts",
    queries_BxTxHxK * queries_BxTxHxK.shape[-1] ** -0.5,
    cache.keys_BxHxSxK,
    preferred_element_type=jnp.float32,
  )
  weights_BxHxTxS, sum_BxHxTx1 = softmax_parts(scores_BxHxTxS, mask_BxHxTxS)
  mixed_BxHxTxK = jnp.einsum(
    "bhts,bhsk->bhtk",
    weights_BxHxTxS.astype(cache.values_BxHxSxK.dtype),
    cache.values_BxHxSxK,
    preferred_element_type=jnp.float32,
  )
  mixed_BxHxTxK = (mixed_BxHxTxK / sum_BxHxTx1).astype(queries_BxTxHxK.dtype)
  return mixed_BxHxTxK.swapaxes(1, 2)


def softmax_parts(
  scores: jax.Array, mask: jax.Array | bool
) -> tuple[jax.Array, jax.Array]:
  """Returns the numerators [..., S] and the denominator [..., 1] of a softmax."""
  scores = jnp.where(mask, scores, MASKED)
  weights = jnp.exp(scores - scores.max(-1, keepdims=True))
  return weights, weights.sum(-1, keepdims=True)
