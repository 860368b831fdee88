# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Attention on projected queries, keys and values.

Training uses cuDNN's fused kernel where it runs: on an NVIDIA GPU, in 16 bits.
"""

import functools

import jax
import jax.extend
import jax.numpy as jnp


def dot_product_attention(
  queries_BxTxHxK: jax.Array,
  keys_BxSxHxK: jax.Array,
  values_BxSxHxK: jax.Array,
  mask_BxS: jax.Array | None,
  causal: bool,
) -> jax.Array:
  """Returns [B, T, H, K]; positions where the mask is false get no weight."""
  return jax.nn.dot_product_attention(
    queries_BxTxHxK,
    keys_BxSxHxK,
    values_BxSxHxK,
    mask=None if mask_BxS is None else mask_BxS[:, None, None],
    is_causal=causal,
  )


def training_attention(
  queries_BxTxHxK: jax.Array,
  keys_BxSxHxK: jax.Array,
  values_BxSxHxK: jax.Array,
  mask_BxS: jax.Array | None,
  causal: bool,
) -> jax.Array:
  """Returns what `dot_product_attention` returns, from the fastest kernel there is.

  In each row of the mask, true entries must come before false ones.
  """
  inputs = queries_BxTxHxK, keys_BxSxHxK, values_BxSxHxK, mask_BxS
  if not _has_cudnn(queries_BxTxHxK):
    return dot_product_attention(*inputs, causal)
  # cuDNN's form can't be traced on other backends, so the backend is checked above; the
  # host of a GPU may compile for its CPU, so the platform is checked here.
  return jax.lax.platform_dependent(
    *inputs,
    cuda=functools.partial(_cudnn_attention, causal=causal),
    default=functools.partial(dot_product_attention, causal=causal),
  )


def _has_cudnn(queries_BxTxHxK: jax.Array) -> bool:
  """Returns whether this process has cuDNN and a GPU on which its kernel runs."""
  if "cuda" not in jax.extend.backend.get_backend().platform_version:
    return False
  is_16_bit = queries_BxTxHxK.dtype in (jnp.bfloat16, jnp.float16)
  head_size = queries_BxTxHxK.shape[-1]
  is_ampere = float(jax.local_devices()[0].compute_capability) >= 8
  return is_16_bit and head_size % 8 == 0 and head_size <= 128 and is_ampere


def _cudnn_attention(
  queries_BxTxHxK, keys_BxSxHxK, values_BxSxHxK, mask_BxS, causal: bool
):
  return jax.nn.dot_product_attention(
    queries_BxTxHxK,
    keys_BxSxHxK,
    values_BxSxHxK,
    key_value_seq_lengths=None if mask_BxS is None else prefix_lengths(mask_BxS),
    is_causal=causal,
    implementation="cudnn",
  )


def prefix_lengths(mask_BxS: jax.Array) -> jax.Array:
  """Returns the number of true entries of each row [B] int32, at least one.

  With length 0 the kernel gives NaN; a row without any position is not scored.
  """
  return jnp.maximum(mask_BxS.sum(-1, dtype=jnp.int32), 1)
