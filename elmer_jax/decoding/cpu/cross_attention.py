# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Cross-attention for CPUs that reads source states instead of keys and values.

With few queries and many source positions, projecting the queries a second time costs
less than computing keys and values. As q·(W x + b) = (Wᵀq)·x + q·b and the softmax does
not depend on q·b, and as its weights w sum to one, Σ w (V x + c) = V (Σ w x) + c.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from elmer_jax.decoding.attention import softmax_parts
from elmer_jax.decoding.cpu.blocked_attention import BlockedAttention
from elmer_jax.model import layers
from elmer_jax.model.layers import split_heads


class CrossAttention(BlockedAttention):
  """Computes what `layers.Attention` computes, by keys or by states."""

  def __init__(self, attention: layers.Attention):
    super().__init__(attention)
    self.key_HxKxD = split_kernels_by_head(attention.key, self.heads)
    self.value_HxKxD = split_kernels_by_head(attention.value, self.heads)

  def __call__(
    self,
    queries_BxTxD: jax.Array,
    memory_BxSxD: jax.Array,
    mask_BxS: jax.Array | None,
    causal: bool = False,
    training: bool = False,
  ) -> jax.Array:
    """Returns [B, T, D]; not for causal attention."""
    if states_are_cheaper(queries_BxTxD.shape[1], memory_BxSxD.shape, self.heads):
      return self._attend_to_states(queries_BxTxD, memory_BxSxD, mask_BxS)
    return super().__call__(queries_BxTxD, memory_BxSxD, mask_BxS, causal, training)

  def _attend_to_states(self, queries_BxTxD, memory_BxSxD, mask_BxS) -> jax.Array:
    batch, length, width = queries_BxTxD.shape
    queries_BxTxHxK = split_heads(self.query(queries_BxTxD), self.heads)
    queries_BxTxHxK *= queries_BxTxHxK.shape[-1] ** -0.5
    # The positions of all texts are one axis: with two axes before H, XLA for CPUs
    # chooses a slow product in float32 and has none in bfloat16.
    queries_HxNxD = _product(
      "nhk,hkd->hnd",
      queries_BxTxHxK.reshape(batch * length, self.heads, -1),
      self.key_HxKxD,
      self.key,
    )
    queries_BxHxTxD = queries_HxNxD.reshape(-1, batch, length, width).swapaxes(0, 1)
    mixed_BxQxD = _mix_states(
      queries_BxHxTxD.reshape(batch, -1, width).astype(self.key.dtype),
      memory_BxSxD.astype(self.key.dtype),
      mask_BxS,
    )
    mixed_BxTxHxK = _product(
      "bhtd,hkd->bthk",
      mixed_BxQxD.reshape(queries_BxHxTxD.shape),
      self.value_HxKxD,
      self.value,
    )
    mixed_BxTxD = mixed_BxTxHxK.reshape(batch, length, width)
    bias_D = self.value.bias[...].astype(mixed_BxTxD.dtype)
    return self.out(mixed_BxTxD + bias_D[None, None])


def split_kernels_by_head(linear: nnx.Linear, heads: int) -> nnx.Param:
  """Returns the kernel of a projection as [H, K, D], D being its input."""
  kernel_DxD = linear.kernel[...]
  return nnx.Param(kernel_DxD.T.reshape(heads, -1, len(kernel_DxD)))


def states_are_cheaper(
  queries: int, memory_shape: tuple[int, int, int], heads: int
) -> bool:
  """Compares multiplications for one text, divided by D, for the keys alone.

  By keys: projecting the keys S · D, scores T · S. By states: the second projection of
  the queries T · D, scores H · T · S. The values take as many as the keys.
  """
  _, memory, width = memory_shape
  by_keys = memory * width + queries * memory
  by_states = queries * width + heads * queries * memory
  return by_states < by_keys


def _mix_states(
  queries_BxQxD: jax.Array, states_BxSxD: jax.Array, mask_BxS: jax.Array | None
) -> jax.Array:
  """Returns [B, Q, D]: attention with the states as keys and values.

  Args:
    queries_BxQxD: scaled, those of all heads one after another.
    states_BxSxD: the memory.
    mask_BxS: false is masked.
  """
  scores_BxQxS = jnp.einsum(
    "bqd,bsd->bqs", queries_BxQxD, states_BxSxD, preferred_element_type=jnp.float32
  )
  mask_BxQxS = True if mask_BxS is None else mask_BxS[:, None]
  weights_BxQxS, sum_BxQx1 = softmax_parts(scores_BxQxS, mask_BxQxS)
  mixed_BxQxD = jnp.einsum(
    "bqs,bsd->bqd",
    weights_BxQxS.astype(states_BxSxD.dtype),
    states_BxSxD,
    preferred_element_type=jnp.float32,
  )
  return (mixed_BxQxD / sum_BxQx1).astype(queries_BxQxD.dtype)


def _product(axes: str, x: jax.Array, kernel: nnx.Param, like: nnx.Linear) -> jax.Array:
  """Multiplies in the dtypes of the projection `like`."""
  return jnp.einsum(
    axes,
    x.astype(like.dtype),
    kernel[...].astype(like.dtype),
    preferred_element_type=like.preferred_element_type or like.dtype,
  )
