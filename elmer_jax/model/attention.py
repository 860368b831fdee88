# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Attention on projected queries, keys and values: for training, and for decoding.

They give the same numbers. On a CPU most of the time of the usual form goes into moving
axes and into scores that don't fit the caches: 12 heads of 400 positions, batch 8,
130 ms against 39 ms in blocks of queries; batch 1, 6.6 ms against 3.9 head by head. The
gradient of the blocks is slower than the usual one's, so training keeps that; on an
NVIDIA GPU, in 16 bits, it takes cuDNN's kernel.
"""

import functools

import jax
import jax.extend
import jax.numpy as jnp

MASKED = -1e30  # the score of what is not seen: finite, so that nothing becomes NaN
_SCORES_OF_HEADS = 2**18  # of heads that go together: 1 MB in float32, a core's cache
_SCORES = 2**21  # of such a group that exist at one time: 8 MB, all cores' cache
_FEWEST = 16  # queries at a time


def dot_product(
  queries_BxTxHxK: jax.Array,
  keys_BxSxHxK: jax.Array,
  values_BxSxHxK: jax.Array,
  mask_BxS: jax.Array | None,
  causal: bool,
) -> jax.Array:
  """Returns [B, T, H, K]; false in the mask is not seen."""
  return jax.nn.dot_product_attention(
    queries_BxTxHxK,
    keys_BxSxHxK,
    values_BxSxHxK,
    mask=None if mask_BxS is None else mask_BxS[:, None, None],
    is_causal=causal,
  )


def with_gradient(
  queries_BxTxHxK: jax.Array,
  keys_BxSxHxK: jax.Array,
  values_BxSxHxK: jax.Array,
  mask_BxS: jax.Array | None,
  causal: bool,
) -> jax.Array:
  """Returns the same, fastest where a gradient is wanted.

  The mask must be a prefix of each row, as it is where padding comes last.
  """
  inputs = queries_BxTxHxK, keys_BxSxHxK, values_BxSxHxK, mask_BxS
  if not _cudnn_takes(queries_BxTxHxK):
    return dot_product(*inputs, causal)
  # The backend is asked above, since elsewhere cuDNN's form can't even be traced; the
  # platform below, since a GPU's host may compile for another one.
  return jax.lax.platform_dependent(
    *inputs,
    cuda=functools.partial(_by_cudnn, causal=causal),
    default=functools.partial(dot_product, causal=causal),
  )


def _cudnn_takes(queries_BxTxHxK: jax.Array) -> bool:
  """Tells whether this process has cuDNN, and a GPU on which its kernel runs."""
  if "cuda" not in jax.extend.backend.get_backend().platform_version:
    return False
  is_narrow = queries_BxTxHxK.dtype in (jnp.bfloat16, jnp.float16)
  width = queries_BxTxHxK.shape[-1]
  is_ampere = float(jax.local_devices()[0].compute_capability) >= 8
  return is_narrow and width % 8 == 0 and width <= 128 and is_ampere


def _by_cudnn(queries_BxTxHxK, keys_BxSxHxK, values_BxSxHxK, mask_BxS, causal: bool):
  return jax.nn.dot_product_attention(
    queries_BxTxHxK,
    keys_BxSxHxK,
    values_BxSxHxK,
    key_value_seq_lengths=None if mask_BxS is None else lengths_of(mask_BxS),
    is_causal=causal,
    implementation="cudnn",
  )


def lengths_of(mask_BxS: jax.Array) -> jax.Array:
  """Returns how many positions each row of a prefix mask has [B] int32, at least one.

  A kernel that is told of none gives NaN; rows without any position count nowhere.
  """
  return jnp.maximum(mask_BxS.sum(-1, dtype=jnp.int32), 1)


def without_gradient(
  queries_BxTxHxK: jax.Array,
  keys_BxSxHxK: jax.Array,
  values_BxSxHxK: jax.Array,
  mask_BxS: jax.Array | None,
  causal: bool,
) -> jax.Array:
  """Returns the same, fastest where no gradient is wanted: on a CPU, in blocks."""
  if mask_BxS is None:
    mask_BxS = jnp.ones(keys_BxSxHxK.shape[:2], bool)
  return jax.lax.platform_dependent(
    queries_BxTxHxK,
    keys_BxSxHxK,
    values_BxSxHxK,
    mask_BxS,
    cpu=functools.partial(_in_blocks, causal=causal),
    default=functools.partial(dot_product, causal=causal),
  )


def _in_blocks(
  queries_BxTxHxK, keys_BxSxHxK, values_BxSxHxK, mask_BxS, causal: bool
) -> jax.Array:
  """Takes so many heads together as have their scores in a core's cache.

  The program has them unrolled, not as a loop, so that cores can take one each.
  """
  batch, length, heads, _ = queries_BxTxHxK.shape
  most = max(_SCORES_OF_HEADS // (batch * length * keys_BxSxHxK.shape[1]), 1)
  together = -(-heads // -(-heads // most))  # of like size

  def attend(first: int) -> jax.Array:
    of_heads = slice(first, first + together)
    inputs = (queries_BxTxHxK, keys_BxSxHxK, values_BxSxHxK)
    return _over_queries(*(x[:, :, of_heads] for x in inputs), mask_BxS, causal)

  return jnp.concatenate([attend(first) for first in range(0, heads, together)], 2)


def _over_queries(
  queries_BxTxHxK, keys_BxSxHxK, values_BxSxHxK, mask_BxS, causal: bool
) -> jax.Array:
  """Walks over blocks of queries whose scores stay in the caches."""
  batch, length, heads, width = queries_BxTxHxK.shape
  keys_BxHxSxK = keys_BxSxHxK.swapaxes(1, 2)
  values_BxHxSxK = values_BxSxHxK.swapaxes(1, 2)
  block = _block_of(length, batch * heads * keys_BxSxHxK.shape[1])
  positions_1xS = jnp.arange(keys_BxSxHxK.shape[1])[None]

  def attend(inputs):
    first, queries_BxCxHxK = inputs
    seen_Bx1x1xS = mask_BxS[:, None, None]
    if causal:
      own_Cx1 = (first + jnp.arange(block))[:, None]
      seen_Bx1x1xS = seen_Bx1x1xS & (positions_1xS <= own_Cx1)[None, None]
    return recall(queries_BxCxHxK, keys_BxHxSxK, values_BxHxSxK, seen_Bx1x1xS)

  if block == length:
    return attend((0, queries_BxTxHxK))
  blocks = queries_BxTxHxK.reshape(batch, length // block, block, heads, width)
  firsts = jnp.arange(0, length, block)
  mixed = jax.lax.map(attend, (firsts, blocks.swapaxes(0, 1)))
  return mixed.swapaxes(0, 1).reshape(queries_BxTxHxK.shape)


def _block_of(length: int, scores: int) -> int:
  """Returns how many queries of so many `scores` each go together: it divides `length`.

  All of them, if only very small blocks would divide it.
  """
  most = min(max(_SCORES // scores, _FEWEST), length)
  fitting = [size for size in range(_FEWEST, most + 1) if length % size == 0]
  return max(fitting, default=length)


def recall(
  queries_BxTxHxK: jax.Array,
  keys_BxHxSxK: jax.Array,
  values_BxHxSxK: jax.Array,
  seen_BxHxTxS: jax.Array,
) -> jax.Array:
  """Returns [B, T, H, K], for few queries and a memory that lies as it is read.

  Args:
    queries_BxTxHxK: not yet scaled.
    keys_BxHxSxK: heads before positions, so that no axis moves.
    values_BxHxSxK: likewise.
    seen_BxHxTxS: bool, of any shape that broadcasts to this one.
  """
  scores_BxHxTxS = jnp.einsum(
    "bthk,bhsk->bhts",
    queries_BxTxHxK * queries_BxTxHxK.shape[-1] ** -0.5,
    keys_BxHxSxK,
    preferred_element_type=jnp.float32,
  )
  weights_BxHxTxS, total_BxHxTx1 = _weights(scores_BxHxTxS, seen_BxHxTxS)
  mixed_BxHxTxK = jnp.einsum(
    "bhts,bhsk->bhtk",
    weights_BxHxTxS.astype(values_BxHxSxK.dtype),
    values_BxHxSxK,
    preferred_element_type=jnp.float32,
  )
  mixed_BxHxTxK = (mixed_BxHxTxK / total_BxHxTx1).astype(queries_BxTxHxK.dtype)
  return mixed_BxHxTxK.swapaxes(1, 2)


def recall_states(
  queries_BxQxD: jax.Array, states_BxSxD: jax.Array, mask_BxS: jax.Array | None
) -> jax.Array:
  """Returns [B, Q, D], where the states themselves are keys and values of all queries.

  Args:
    queries_BxQxD: scaled; every head's, one after another.
    states_BxSxD: of the memory.
    mask_BxS: false is not seen.
  """
  scores_BxQxS = jnp.einsum(
    "bqd,bsd->bqs", queries_BxQxD, states_BxSxD, preferred_element_type=jnp.float32
  )
  seen_BxQxS = True if mask_BxS is None else mask_BxS[:, None]
  weights_BxQxS, total_BxQx1 = _weights(scores_BxQxS, seen_BxQxS)
  mixed_BxQxD = jnp.einsum(
    "bqs,bsd->bqd",
    weights_BxQxS.astype(states_BxSxD.dtype),
    states_BxSxD,
    preferred_element_type=jnp.float32,
  )
  return (mixed_BxQxD / total_BxQx1).astype(queries_BxQxD.dtype)


def _weights(scores: jax.Array, seen: jax.Array | bool) -> tuple[jax.Array, jax.Array]:
  """Returns a softmax's numerators [..., S] and its denominator [..., 1]."""
  scores = jnp.where(seen, scores, MASKED)
  top = jax.lax.stop_gradient(scores.max(-1, keepdims=True))
  weights = jnp.exp(scores - top)
  return weights, weights.sum(-1, keepdims=True)
