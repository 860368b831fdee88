# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Attention for CPUs, in blocks of queries whose scores fit the caches.

Most of the time of the usual form goes into moving axes and into scores that don't fit.
The gradient of the blocks is slower than the usual one, so training doesn't use them.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from elmer_jax.decoding.attention import KVCache, attend_cached
from elmer_jax.model import layers
from elmer_jax.model.layers import split_heads

_MAX_SCORES = 2**21  # of a block of queries: 8 MB, the cache of all cores
_MIN_QUERIES = 16  # of a block


class BlockedAttention(nnx.Module):
  """Computes what `layers.Attention` computes, by `blocked_attention`."""

  def __init__(self, attention: layers.Attention):
    """Takes over the projections of a plain module."""
    self.heads = attention.heads
    self.query, self.out = attention.query, attention.out
    self.key, self.value = attention.key, attention.value

  def __call__(
    self,
    queries_BxTxD: jax.Array,
    memory_BxSxD: jax.Array,
    mask_BxS: jax.Array | None,
    causal: bool = False,
    training: bool = False,
  ) -> jax.Array:
    """Returns [B, T, D]; `training` is not read."""
    del training
    mixed_BxTxHxK = blocked_attention(
      split_heads(self.query(queries_BxTxD), self.heads),
      split_heads(self.key(memory_BxSxD), self.heads),
      split_heads(self.value(memory_BxSxD), self.heads),
      mask_BxS,
      causal,
    )
    return self.out(mixed_BxTxHxK.reshape(queries_BxTxD.shape))


def blocked_attention(
  queries_BxTxHxK: jax.Array,
  keys_BxSxHxK: jax.Array,
  values_BxSxHxK: jax.Array,
  mask_BxS: jax.Array | None,
  causal: bool,
) -> jax.Array:
  """Returns what `model.attention.dot_product_attention` returns, [B, T, H, K]."""
  batch, length, heads, size = queries_BxTxHxK.shape
  cache = KVCache(keys_BxSxHxK.swapaxes(1, 2), values_BxSxHxK.swapaxes(1, 2))
  block = _block_size(length, batch * heads * keys_BxSxHxK.shape[1])
  positions_1xS = jnp.arange(keys_BxSxHxK.shape[1])[None]
  if mask_BxS is None:
    mask_BxS = jnp.ones(keys_BxSxHxK.shape[:2], bool)

  def attend(inputs):
    first, queries_BxCxHxK = inputs
    seen_Bx1x1xS = mask_BxS[:, None, None]
    if causal:
      own_Cx1 = (first + jnp.arange(block))[:, None]
      seen_Bx1x1xS = seen_Bx1x1xS & (positions_1xS <= own_Cx1)[None, None]
    return attend_cached(queries_BxCxHxK, cache, seen_Bx1x1xS)

  if block == length:
    return attend((0, queries_BxTxHxK))
  blocks = queries_BxTxHxK.reshape(batch, length // block, block, heads, size)
  firsts = jnp.arange(0, length, block)
  mixed = jax.lax.map(attend, (firsts, blocks.swapaxes(0, 1)))
  return mixed.swapaxes(0, 1).reshape(queries_BxTxHxK.shape)


def _block_size(length: int, scores_per_query: int) -> int:
  """Returns a number of queries that divides `length` and whose scores fit.

  Returns `length` where only blocks below `_MIN_QUERIES` divide it.
  """
  limit = min(max(_MAX_SCORES // scores_per_query, _MIN_QUERIES), length)
  fitting = [size for size in range(_MIN_QUERIES, limit + 1) if length % size == 0]
  return max(fitting, default=length)
