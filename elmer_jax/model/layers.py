# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The parts of a layer: projections, norms, attention, feed-forward, dropout."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from elmer_jax.model import attention
from elmer_jax.model.config import ModelConfig
from elmer_jax.model.sharding_constraints import constrain

NORM_EPSILON = 1e-5


class Cached(NamedTuple):
  """One attention's keys and values of S positions, [B, H, S, K] each."""

  keys: jax.Array
  values: jax.Array


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
  """Derives one key a row from `keys_B` and an integer; None stays None."""
  if keys_B is None:
    return None
  return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys_B, number)


def dropout(x_BxTxD: jax.Array, keys_B: jax.Array | None, rate: float) -> jax.Array:
  """Zeroes a share `rate` of the entries and scales the others up.

  Every row draws from its own key, so the mask of a row does not depend on how the
  batch is split over devices, micro-batches or processes. Without keys: identity.
  """
  if keys_B is None or rate == 0:
    return x_BxTxD
  # 16 bits tell the rate to 1/65536, and a word of the generator has two of them.
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
    training: bool = True,
  ) -> jax.Array:
    """Returns each query position's mixture of the memory's values [B, T, D].

    `causal`: query t sees the memory up to position t only. `training`: a gradient is
    wanted, which decides what is fast.
    """
    may_read_states = not (training or causal)
    if may_read_states and self._saves_keys(queries_BxTxD, memory_BxSxD):
      return self._read_states(queries_BxTxD, memory_BxSxD, memory_mask_BxS)
    attend = attention.with_gradient if training else attention.without_gradient
    projected = self._project(queries_BxTxD, memory_BxSxD)
    mixed_BxTxHxK = attend(*map(self._split, projected), memory_mask_BxS, causal)
    return self.out(mixed_BxTxHxK.reshape(queries_BxTxD.shape))

  def join(self) -> None:
    """Makes the projections of self-attention one.

    A wide product is faster than three narrow ones, the fewer the rows the more.
    """
    names = ("query", "key", "value")
    parts = [getattr(self, name) for name in names]
    # Its weights are put in below; `query` lends its dtype alone.
    self.joint = nnx.Linear(1, 1, dtype=parts[0].dtype, rngs=nnx.Rngs(0))
    for name in ("kernel", "bias"):
      arrays = [getattr(part, name)[...] for part in parts]
      setattr(self.joint, name, nnx.Param(jnp.concatenate(arrays, axis=-1)))
    for name in names:
      delattr(self, name)

  def _project(self, queries_BxTxD, memory_BxSxD) -> list[jax.Array]:
    """Returns queries [B, T, D], keys and values [B, S, D]."""
    if hasattr(self, "joint"):
      return jnp.split(self.joint(memory_BxSxD), 3, -1)
    return [self.query(queries_BxTxD), self.key(memory_BxSxD), self.value(memory_BxSxD)]

  def part_by_head(self) -> None:
    """Lays the kernels of keys and values also as `_read_states` reads them."""
    for name in ("key", "value"):
      kernel_DxD = getattr(self, name).kernel[...]
      kernel_HxKxD = kernel_DxD.T.reshape(self.heads, -1, len(kernel_DxD))
      setattr(self, f"{name}_HxKxD", nnx.Param(kernel_HxKxD))

  def _saves_keys(self, queries_BxTxD: jax.Array, memory_BxSxD: jax.Array) -> bool:
    """Tells whether `_read_states` multiplies less: where queries are few, keys many.

    Counted for one text and for keys alone (values are as many), divided by D:
    projecting the keys takes S · D, the scores T · S; projecting the queries once more
    T · D, their scores with whole states H · T · S.
    """
    if not hasattr(self, "key_HxKxD"):
      return False
    queries, memory, width = queries_BxTxD.shape[1], *memory_BxSxD.shape[1:]
    by_keys = memory * width + queries * memory
    by_states = queries * width + self.heads * queries * memory
    return by_states < by_keys

  def _read_states(self, queries_BxTxD, memory_BxSxD, mask_BxS) -> jax.Array:
    """Attends to the memory's states themselves: no key and no value is computed.

    With q·(W x + b) = (Wᵀq)·x + q·b, of which the softmax doesn't see q·b, and, as
    weights sum to one, Σ w (V x + c) = V (Σ w x) + c.
    """
    batch, queries, width = queries_BxTxD.shape
    queries_BxTxHxK = self._split(self.query(queries_BxTxD))
    queries_BxTxHxK *= queries_BxTxHxK.shape[-1] ** -0.5
    # The positions of all texts are one axis: with two in front of H, XLA for CPUs
    # takes a slow product in float32 and has none in bfloat16.
    queries_HxNxD = self._product(
      "nhk,hkd->hnd",
      queries_BxTxHxK.reshape(batch * queries, self.heads, -1),
      self.key_HxKxD,
      self.key,
    )
    queries_BxHxTxD = queries_HxNxD.reshape(-1, batch, queries, width).swapaxes(0, 1)
    mixed_BxQxD = attention.recall_states(
      queries_BxHxTxD.reshape(batch, -1, width).astype(self.key.dtype),
      memory_BxSxD.astype(self.key.dtype),
      mask_BxS,
    )
    mixed_BxTxHxK = self._product(
      "bhtd,hkd->bthk",
      mixed_BxQxD.reshape(queries_BxHxTxD.shape),
      self.value_HxKxD,
      self.value,
    )
    mixed_BxTxD = mixed_BxTxHxK.reshape(batch, queries, width)
    bias_D = self.value.bias[...].astype(mixed_BxTxD.dtype)
    return self.out(mixed_BxTxD + bias_D[None, None])

  def _product(self, axes: str, x, kernel: nnx.Param, like: nnx.Linear) -> jax.Array:
    """Multiplies as the projection `like` does."""
    return jnp.einsum(
      axes,
      x.astype(like.dtype),
      kernel[...].astype(like.dtype),
      preferred_element_type=like.preferred_element_type or like.dtype,
    )

  def remember(self, memory_BxSxD: jax.Array) -> Cached:
    """Returns the memory's keys and values, to be attended to many times."""
    return Cached(
      self._split(self.key(memory_BxSxD)).swapaxes(1, 2),
      self._split(self.value(memory_BxSxD)).swapaxes(1, 2),
    )

  def recall(
    self, queries_BxTxD: jax.Array, memory: Cached, mask_BxS: jax.Array
  ) -> jax.Array:
    """Returns [B, T, D], as `__call__` does, for few queries and a kept memory."""
    mixed_BxTxHxK = attention.recall(
      self._split(self.query(queries_BxTxD)), *memory, mask_BxS[:, None, None]
    )
    return self.out(mixed_BxTxHxK.reshape(queries_BxTxD.shape))

  def _split(self, x_BxTxD: jax.Array) -> jax.Array:
    x_BxTxHxK = x_BxTxD.reshape(*x_BxTxD.shape[:2], self.heads, -1)
    return constrain(x_BxTxHxK, "batch", None, "heads", None)


def _gelu(x: jax.Array) -> jax.Array:
  """Returns the exact (erf) GELU. The backward pass needs nothing but `x`."""
  exact = functools.partial(jax.nn.gelu, approximate=False)
  return jax.checkpoint(exact, prevent_cse=False)(x)


class FeedForward(nnx.Module):
  """Two projections around an exact (erf) GELU."""

  def __init__(self, config: ModelConfig, width: int, rngs: nnx.Rngs):
    self.widen = linear(config, (config.d_model, width), ("embed", "mlp"), rngs)
    self.narrow = linear(config, (width, config.d_model), ("mlp", "embed"), rngs)

  def __call__(self, x_BxTxD: jax.Array) -> jax.Array:
    """Returns [B, T, D]."""
    wide_BxTxF = constrain(self.widen(x_BxTxD), "batch", None, "mlp")
    return self.narrow(_gelu(wide_BxTxF))


class Residual(nnx.Module):
  """Joins a branch to the stream: `norm(x + f(x))`, or `x + f(norm(x))`."""

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
