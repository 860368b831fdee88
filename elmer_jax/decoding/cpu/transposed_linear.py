# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A linear projection for few rows at a time, with its weights transposed.

On a CPU, W · xᵀ with 32 columns runs at 1.2 to 1.4 times the rate of x · W with 32
rows, with 64 at 1.1 to 1.25; the result is small and is transposed at little cost.
"""

import jax
import jax.numpy as jnp
from flax import nnx

_MAX_ROWS = 128  # with more rows x · W is as fast, and the result is larger


class TransposedLinear(nnx.Module):
  """Computes what a linear projection computes, from its weights as [out, in]."""

  def __init__(self, linear: nnx.Linear):
    self.kernel_OxI = nnx.Param(linear.kernel[...].T)
    self.bias = None if linear.bias is None else nnx.Param(linear.bias[...])
    self.dtype = linear.dtype
    self.preferred_element_type = linear.preferred_element_type or linear.dtype

  def __call__(self, x: jax.Array) -> jax.Array:
    """Returns [..., out] of [..., in]."""
    x_NxI = x.reshape(-1, x.shape[-1]).astype(self.dtype)
    has_few_rows = len(x_NxI) <= _MAX_ROWS
    product = jnp.einsum(
      "oi,ni->on" if has_few_rows else "oi,ni->no",
      self.kernel_OxI[...].astype(self.dtype),
      x_NxI,
      preferred_element_type=self.preferred_element_type,
    )
    if has_few_rows:
      # Without the barrier XLA turns the product back into x · W.
      product = jax.lax.optimization_barrier(product).T
    if self.bias is not None:
      product += self.bias[...].astype(product.dtype)[None]
    return product.reshape(*x.shape[:-1], -1)
