# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Attention for decoding: one product for queries, keys and values, and a KV cache."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from elmer_jax.model import layers
from elmer_jax.model.layers import split_heads

MASKED = -1e30  # score of masked positions; finite, so that no row becomes NaN


class SelfAttention(nnx.Module):
  """Computes what `layers.Attention` computes where memory and queries are the same."""

  def __init__(
    self, heads: int, qkv: nnx.Module, out: nnx.Module, attend: Callable
  ) -> None:
    """Makes the module of its parts.

    Args:
      heads: number of heads.
      qkv: projection [..., D] → [..., 3 · D]: see `fuse_qkv`.
      out: projection [..., D] → [..., D].
      attend: a function like `model.attention.dot_product_attention`.
    """
    self.heads = heads
    self.qkv = qkv
    self.out = out
    self.attend = attend

  def __call__(
    self,
    x_BxTxD: jax.Array,
    memory_BxTxD: jax.Array,
    mask_BxT: jax.Array | None,
    causal: bool = False,
    training: bool = False,
  ) -> jax.Array:
    """Returns [B, T, D]. The memory is not read: it is `x_BxTxD`."""
    del memory_BxTxD, training
    mixed_BxTxHxK = self.attend(*self.project(x_BxTxD), mask_BxT, causal)
    return self.out(mixed_BxTxHxK.reshape(x_BxTxD.shape))

  def project(self, x_BxTxD: jax.Array) -> list[jax.Array]:
    """Returns queries, keys and values, [B, T, H, K] each."""
    return [
      split_heads(part, self.heads) for part in jnp.split(self.qkv(x_BxTxD), 3, -1)
    ]


def fuse_qkv(attention: layers.Attention) -> nnx.Linear:
  """Returns the projections to queries, keys and values as one, [D] → [3 · D].

  One wide product is faster than three, most of all with few rows.
  """
  parts = [attention.query, attention.key, attention.value]
  # The weights are replaced below.
  fused = nnx.Linear(
    1,
    1,
    dtype=parts[0].dtype,
    preferred_element_type=parts[0].preferred_element_type,
    rngs=nnx.Rngs(0),
  )
  for name in ("kernel", "bias"):
    arrays = [getattr(part, name)[...] for part in parts]
    setattr(fused, name, nnx.Param(jnp.concatenate(arrays, axis=-1)))
  return fused


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
