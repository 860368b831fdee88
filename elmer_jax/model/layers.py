# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The parts of a layer: projections, norms, attention, feed-forward, dropout."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from elmer_jax.model import attention
from elmer_jax.model.config import ModelConfig
from elmer_jax.model.sharding_constraints import constrain

NORM_EPSILON = 1e-5


def linear(
  config: ModelConfig, sizes: tuple[int, int], axes: tuple[str, str], rngs: nnx.Rngs
) -> nnx.Linear:
  """Returns a projection [..., in] → [..., out] with logical axis names on it."""
  return nnx.Linear(
    *sizes,
    dtype=jnp.dtype(config.dtype),
    kernel_init=nnx.with_metadata(
      nnx.initializers.normal(config.init_stddev), axes=axes
    ),
    bias_init=nnx.with_metadata(nnx.initializers.zeros_init(), axes=axes[1:]),
    rngs=rngs,
  )


def layer_norm(config: ModelConfig, rngs: nnx.Rngs) -> nnx.LayerNorm:
  """Returns a layer norm over the model width, computed in float32."""
  return nnx.LayerNorm(
    config.d_model,
    epsilon=NORM_EPSILON,
    dtype=jnp.dtype(config.dtype),
    scale_init=nnx.with_metadata(nnx.initializers.ones_init(), axes=("norm",)),
    bias_init=nnx.with_metadata(nnx.initializers.zeros_init(), axes=("norm",)),
    rngs=rngs,
  )


def table(
  config: ModelConfig, rows: int, axes: tuple[str, str], rngs: nnx.Rngs
) -> nnx.Param:
  """Returns a float32 table [rows, D] of embeddings."""
  init = nnx.initializers.normal(config.init_stddev)
  shape = (rows, config.d_model)
  return nnx.Param(init(rngs.params(), shape, jnp.float32), axes=axes)


def fold_in(keys_B: jax.Array | None, number: int | jax.Array) -> jax.Array | None:
  """Folds `number` into each of the keys [B]; None stays None."""
  if keys_B is None:
    return None
  return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys_B, number)


def dropout(x_BxTxD: jax.Array, keys_B: jax.Array | None, rate: float) -> jax.Array:
  """Zeroes a fraction `rate` of the entries and scales the others up.

  Every row draws from its own key, so the mask of a row does not depend on how the
  batch is split over devices, micro-batches or processes. Without keys: identity.
  """
  if keys_B is None or rate == 0:
    return x_BxTxD
  # 16 bits resolve the rate to 1/65536, and one 32-bit draw serves two entries.
  dropped = round(rate * 2**16)
  draws_BxTxD = jax.vmap(lambda key: _draw(key, *x_BxTxD.shape[1:]))(keys_B)
  scaled_BxTxD = x_BxTxD / (1 - dropped / 2**16)
  return jnp.where(draws_BxTxD >= dropped, scaled_BxTxD, jnp.zeros((), x_BxTxD.dtype))


def _draw(key: jax.Array, length: int, width: int) -> jax.Array:
  """Returns [length, width] uint32, uniform below 2**16."""
  words = jax.random.bits(key, (-(-length // 2), width))
  return jnp.concatenate([words >> 16, words & 0xFFFF])[:length]


class Attention(nnx.Module):
  """Multi-head attention with a bias on each of its four projections, as BART."""

  def __init__(self, config: ModelConfig, heads: int, rngs: nnx.Rngs):
    square = (config.d_model, config.d_model)
    self.heads = heads
    self.query = linear(config, square, ("embed", "heads"), rngs)
    self.key = linear(config, square, ("embed", "heads"), rngs)
    self.value = linear(config, square, ("embed", "heads"), rngs)
    self.out = linear(config, square, ("heads", "embed"), rngs)

  def __call__(
    self,
    queries_BxTxD: jax.Array,
    memory_BxSxD: jax.Array,
    memory_mask_BxS: jax.Array | None,
    causal: bool = False,
    training: bool = False,
  ) -> jax.Array:
    """Returns a weighted sum of the memory's values for each query [B, T, D].

    Args:
      queries_BxTxD: the query positions.
      memory_BxSxD: the positions that are attended to.
      memory_mask_BxS: bool, false where a position gets no weight; None: nowhere.
      causal: query t attends to the memory up to position t only.
      training: selects `attention.training_attention`, which restricts the mask.
    """
    attend = (
      attention.training_attention if training else attention.dot_product_attention
    )
    mixed_BxTxHxK = attend(
      split_heads(self.query(queries_BxTxD), self.heads),
      split_heads(self.key(memory_BxSxD), self.heads),
      split_heads(self.value(memory_BxSxD), self.heads),
      memory_mask_BxS,
      causal,
    )
    return self.out(mixed_BxTxHxK.reshape(queries_BxTxD.shape))


def split_heads(x_BxTxD: jax.Array, heads: int) -> jax.Array:
  """Returns [B, T, H, K]."""
  x_BxTxHxK = x_BxTxD.reshape(*x_BxTxD.shape[:2], heads, -1)
  return constrain(x_BxTxHxK, "batch", None, "heads", None)


def _gelu(x: jax.Array) -> jax.Array:
  """Returns the exact (erf) GELU; only `x` is kept for the backward pass."""
  exact = functools.partial(jax.nn.gelu, approximate=False)
  return jax.checkpoint(exact, prevent_cse=False)(x)


class FeedForward(nnx.Module):
  """Two projections around an exact (erf) GELU."""

  def __init__(self, config: ModelConfig, width: int, rngs: nnx.Rngs):
    self.up_proj = linear(config, (config.d_model, width), ("embed", "mlp"), rngs)
    self.down_proj = linear(config, (width, config.d_model), ("mlp", "embed"), rngs)

  def __call__(self, x_BxTxD: jax.Array) -> jax.Array:
    """Returns [B, T, D]."""
    wide_BxTxF = constrain(self.up_proj(x_BxTxD), "batch", None, "mlp")
    return self.down_proj(_gelu(wide_BxTxF))


class Residual(nnx.Module):
  """A residual connection: post-norm `norm(x + f(x))` or pre-norm `x + f(norm(x))`."""

  def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
    self.pre = config.norm == "pre"
    self.rate = config.dropout
    self.norm = layer_norm(config, rngs)

  def __call__(self, x_BxTxD: jax.Array, branch, keys_B: jax.Array | None) -> jax.Array:
    """Returns [B, T, D]; `branch` maps [B, T, D] to [B, T, D]."""
    x_BxTxD = constrain(x_BxTxD, "batch", None, None)
    branch_BxTxD = branch(self.norm(x_BxTxD) if self.pre else x_BxTxD)
    branch_BxTxD = constrain(branch_BxTxD, "batch", None, None)
    sum_BxTxD = x_BxTxD + dropout(branch_BxTxD, keys_B, self.rate)
    return sum_BxTxD if self.pre else self.norm(sum_BxTxD)
