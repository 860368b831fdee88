# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The head's arg-max, exactly, by way of a product in bfloat16.

Where nothing else is asked than which token the head likes best (below the last layer,
and at the last one unless probabilities are wanted), a product with the rounded table
takes a CPU about half as long, and its error has a bound: with ĥ and ê for the rounded
state and row, by Cauchy and Schwarz

    |h·e - ĥ·ê|  ≤  |h| |e - ê| + |h - ĥ| |ê|

so only rows whose score comes within the bounds of the best one can win. Those,
commonly one to three a token, are computed again in float32. Where there are more of
them than there is room for, the whole head is computed as it stands.
"""

import os
from typing import NamedTuple

import jax
import jax.numpy as jnp

from elmer_jax.model.elmer import Head

_GROUP = 64  # rows of the table whose best one stands for all at first
_GROUPS = 8  # of them that may hold a token's winner
_ROWS = 16  # in them that may be it
_UNIT = 2.0**-24  # float32's unit roundoff


class Screen(NamedTuple):
  """The table in bfloat16, and the norms that its errors follow from."""

  table_VxD: jax.Array  # rounded
  norm_V: jax.Array  # of its rows, float32
  error_V: jax.Array  # the norm of what rounding took away from each, float32


def pays() -> bool:
  """Tells whether this is a CPU that multiplies bfloat16 faster than float32."""
  if jax.default_backend() != "cpu" or not os.path.exists("/proc/cpuinfo"):
    return False
  with open("/proc/cpuinfo") as file:
    return any(" avx512_bf16" in line or " amx_bf16" in line for line in file)


@jax.jit
def prepare(table_VxD: jax.Array) -> Screen:
  """Rounds a float32 table [V, D], once for all calls."""
  rounded_VxD, error_V = _round(table_VxD)
  return Screen(rounded_VxD.astype(jnp.bfloat16), _norm(rounded_VxD), error_V)


def predict(
  states_NxD: jax.Array, head: Head, screen: Screen
) -> tuple[jax.Array, jax.Array]:
  """Returns ids int32 [N], and whether all of them are certain to be the arg-max.

  Args:
    states_NxD: float32, so few that N · V logits may exist.
    head: what is asked; among equals the lowest id wins.
    screen: of the head's table.
  """
  # The barrier makes the bias this call's own: one that several calls share, XLA
  # writes out for all positions [V, N] first.
  states_NxD, bias_V = jax.lax.optimization_barrier(
    (states_NxD, head.bias_V + head.choice_shift_V)
  )
  rounded_NxD, far_N = _round(states_NxD)
  scores_VxN = jnp.einsum(
    "vd,nd->vn",
    screen.table_VxD,
    rounded_NxD.astype(jnp.bfloat16),
    preferred_element_type=jnp.float32,
  )
  # A row's score is wrong by at most: near_N · error_V + far_N · norm_V. The last part
  # of far_N is what sums over D in float32 lose, in this product and in the exact one.
  near_N = _norm(states_NxD)
  far_N += 2 * states_NxD.shape[1] * _UNIT * near_N

  size, tokens = scores_VxN.shape
  rows = next(n for n in range(_GROUP, 0, -1) if size % n == 0)
  scores_GxRxN = scores_VxN.reshape(-1, rows, tokens)
  best_GxN = (scores_GxRxN + bias_V.reshape(-1, rows, 1)).max(1)
  norm_G, error_G = (each.reshape(-1, rows).max(1) for each in screen[1:])
  doubt_GxN = error_G[:, None] * near_N[None] + norm_G[:, None] * far_N[None]
  floor_N = (best_GxN - doubt_GxN).max(0)  # the winner has at least this
  reach_NxG = (best_GxN + doubt_GxN).T
  groups = min(_GROUPS, reach_NxG.shape[1])
  group_NxJ = jax.lax.top_k(reach_NxG, groups)[1]
  has_room_N = (reach_NxG >= floor_N[:, None]).sum(1) <= groups

  # The same once more for the rows of those groups.
  picked_NxJxR = scores_GxRxN[group_NxJ, :, jnp.arange(tokens)[:, None]]
  ids_NxC = (group_NxJ[..., None] * rows + jnp.arange(rows)[None, None]).reshape(
    tokens, -1
  )
  doubt_NxC = (
    near_N[:, None] * screen.error_V[ids_NxC] + far_N[:, None] * screen.norm_V[ids_NxC]
  )
  reach_NxC = picked_NxJxR.reshape(tokens, -1) + bias_V[ids_NxC] + doubt_NxC
  can_win_NxC = reach_NxC >= floor_N[:, None]
  count_N = can_win_NxC.sum(1)
  few = min(_ROWS, ids_NxC.shape[1])
  has_room_N &= (count_N >= 1) & (count_N <= few)  # none at all: not a number
  _, place_NxF = jax.lax.top_k(jnp.where(can_win_NxC, reach_NxC, -jnp.inf), few)
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
  return best_N.astype(jnp.int32), has_room_N.all()


def _round(vectors: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns vectors [..., D] rounded to bfloat16, and the norm of the difference."""
  # Not by a conversion and back, which XLA leaves out.
  rounded = jax.lax.reduce_precision(vectors, exponent_bits=8, mantissa_bits=7)
  return rounded, _norm(vectors - rounded)


def _norm(vectors: jax.Array) -> jax.Array:
  return jnp.sqrt(jnp.square(vectors).sum(-1))
