# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The head's exact arg-max from a product in bfloat16.

Where only the most likely token is needed, not its probability, a product with the
rounded table takes a CPU about half as long, and its error has a bound: with ĥ and ê
for the rounded state and row, by Cauchy and Schwarz

    |h·e - ĥ·ê|  ≤  |h| |e - ê| + |h - ĥ| |ê|

so only rows whose score is within the bounds of the best one can have the highest
logit. Those, commonly one to three per token, are computed again in float32. Where
there are more candidates than fixed sizes allow, the caller computes the whole head.
"""

import os

import jax
import jax.numpy as jnp
from flax import nnx

from elmer_jax.model.elmer import Head

_GROUP = 64  # rows of the table that are first compared by their best score
_GROUPS = 8  # groups per token that may have a candidate
_ROWS = 16  # candidates per token
_UNIT = 2.0**-24  # float32's unit roundoff


class RoundedTable(nnx.Module):
  """A token table in bfloat16, and the norms that bound its errors."""

  def __init__(self, table_VxD: jax.Array):
    """Rounds a float32 table [V, D]."""
    rounded_VxD, error_V = _round(table_VxD)
    self.table_VxD = nnx.Param(rounded_VxD.astype(jnp.bfloat16))
    self.norm_V = nnx.Param(_norm(rounded_VxD))  # of each rounded row, float32
    self.error_V = nnx.Param(error_V)  # norm of each row's rounding error, float32


def is_supported() -> bool:
  """Returns whether this is a CPU that multiplies bfloat16 faster than float32."""
  if jax.default_backend() != "cpu" or not os.path.exists("/proc/cpuinfo"):
    return False
  with open("/proc/cpuinfo") as file:
    return any(" avx512_bf16" in line or " amx_bf16" in line for line in file)


def predict(
  states_NxD: jax.Array, head: Head, rounded_table: RoundedTable
) -> tuple[jax.Array, jax.Array]:
  """Returns ids int32 [N], and bool [] whether all of them are the exact arg-max.

  Args:
    states_NxD: float32; logits [V, N] exist at once.
    head: whose arg-max is taken; among equals the lowest id.
    rounded_table: made of the head's table.
  """
  # Without the barrier XLA broadcasts a bias that several calls share to [V, N] first.
  states_NxD, bias_V = jax.lax.optimization_barrier(
    (states_NxD, head.bias_V + head.choice_shift_V)
  )
  rounded_NxD, error_N = _round(states_NxD)
  scores_VxN = jnp.einsum(
    "vd,nd->vn",
    rounded_table.table_VxD[...],
    rounded_NxD.astype(jnp.bfloat16),
    preferred_element_type=jnp.float32,
  )
  # The error of a row's score is at most norm_N · error_V + error_N · norm_V. What is
  # added to error_N bounds the errors of the sums over D in float32, in this product
  # and in the exact one.
  norm_N = _norm(states_NxD)
  error_N += 2 * states_NxD.shape[1] * _UNIT * norm_N
  norm_V, error_V = rounded_table.norm_V[...], rounded_table.error_V[...]

  size, tokens = scores_VxN.shape
  rows = next(n for n in range(_GROUP, 0, -1) if size % n == 0)
  scores_GxRxN = scores_VxN.reshape(-1, rows, tokens)
  best_GxN = (scores_GxRxN + bias_V.reshape(-1, rows, 1)).max(1)
  norm_G, error_G = (each.reshape(-1, rows).max(1) for each in (norm_V, error_V))
  bound_GxN = error_G[:, None] * norm_N[None] + norm_G[:, None] * error_N[None]
  lowest_N = (best_GxN - bound_GxN).max(0)  # of the highest logit
  highest_NxG = (best_GxN + bound_GxN).T
  groups = min(_GROUPS, highest_NxG.shape[1])
  group_NxJ = jax.lax.top_k(highest_NxG, groups)[1]
  is_exact_N = (highest_NxG >= lowest_N[:, None]).sum(1) <= groups

  # The same for the rows of those groups.
  picked_NxJxR = scores_GxRxN[group_NxJ, :, jnp.arange(tokens)[:, None]]
  ids_NxC = (group_NxJ[..., None] * rows + jnp.arange(rows)[None, None]).reshape(
    tokens, -1
  )
  bound_NxC = norm_N[:, None] * error_V[ids_NxC] + error_N[:, None] * norm_V[ids_NxC]
  highest_NxC = picked_NxJxR.reshape(tokens, -1) + bias_V[ids_NxC] + bound_NxC
  is_candidate_NxC = highest_NxC >= lowest_N[:, None]
  count_N = is_candidate_NxC.sum(1)
  few = min(_ROWS, ids_NxC.shape[1])
  is_exact_N &= (count_N >= 1) & (count_N <= few)  # with NaN there is none
  _, place_NxF = jax.lax.top_k(jnp.where(is_candidate_NxC, highest_NxC, -jnp.inf), few)
  ids_NxF = jnp.take_along_axis(ids_NxC, place_NxF, 1)
  exact_NxF = jnp.einsum(
    "nfd,nd->nf",
    head.table_VxD[ids_NxF],
    states_NxD,
    preferred_element_type=jnp.float32,
  )
  exact_NxF += bias_V[ids_NxF]
  exact_NxF = jnp.where(jnp.arange(few)[None] < count_N[:, None], exact_NxF, -jnp.inf)
  is_best_NxF = exact_NxF == exact_NxF.max(1, keepdims=True)
  best_N = jnp.where(is_best_NxF, ids_NxF, size).min(1)
  return best_N.astype(jnp.int32), is_exact_N.all()


def _round(vectors: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns vectors [..., D] rounded to bfloat16, and the norm of the difference."""
  # Not by a conversion and back, which XLA leaves out.
  rounded = jax.lax.reduce_precision(vectors, exponent_bits=8, mantissa_bits=7)
  return rounded, _norm(vectors - rounded)


def _norm(vectors: jax.Array) -> jax.Array:
  return jnp.sqrt(jnp.square(vectors).sum(-1))
