# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The head for CPUs: groups of positions are multiplied with the whole table.

In chunks of the vocabulary, as training computes it, the table would be copied at every
call.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from elmer_jax.decoding.head import HeadPrediction
from elmer_jax.model.elmer import Head
from elmer_jax.objectives.linear_cross_entropy import logits_by_id

_POSITIONS = 64  # of a group: 13 MB of logits at base size
_PARTS = 64  # of the vocabulary, for threads to share a reduction


def map_groups(function: Callable, states_BxTxD: jax.Array):
  """Maps `function`, from [N, D] to arrays [N], over all positions."""
  shape = states_BxTxD.shape[:-1]
  states_NxD = states_BxTxD.reshape(-1, states_BxTxD.shape[-1])
  count = len(states_NxD)
  groups = -(-count // _POSITIONS)
  if groups == 1:
    outputs = function(states_NxD)
  else:
    size = -(-count // groups)
    padded = jnp.pad(states_NxD, ((0, groups * size - count), (0, 0)))
    outputs = jax.lax.map(function, padded.reshape(groups, size, -1))
  return jax.tree.map(lambda array: array.reshape(-1)[:count].reshape(shape), outputs)


def read_group(states_NxD: jax.Array, head: Head) -> HeadPrediction:
  """Returns the prediction at N positions, whose logits [V, N] exist at once."""
  logits_VxN = logits_by_id(states_NxD, head)
  scores_VxN = logits_VxN + head.choice_shift_V[:, None]
  # The arg-max as two reductions: XLA's own is slow on a CPU.
  best_N = _reduce(jnp.max, scores_VxN)
  ids_Vx1 = jnp.arange(len(scores_VxN))[:, None]
  winners_VxN = jnp.where(scores_VxN == best_N[None], ids_Vx1, len(scores_VxN))
  ids_N = _reduce(jnp.min, winners_VxN)
  # The best score is the highest logit or close to it: either keeps the sums in range.
  weights_VxN = jnp.exp(logits_VxN - best_N[None])
  sum_N = _reduce(jnp.sum, weights_VxN)
  log_sum_N = jnp.log(sum_N) + best_N
  mean_N = _reduce(jnp.sum, weights_VxN * logits_VxN) / sum_N
  log_probability_N = best_N - head.choice_shift_V[ids_N] - log_sum_N
  return HeadPrediction(ids_N.astype(jnp.int32), log_probability_N, log_sum_N - mean_N)


def _reduce(reduce: Callable, x_VxN: jax.Array) -> jax.Array:
  """Reduces over the vocabulary in two steps, so that threads can share the first."""
  parts = next(n for n in range(_PARTS, 0, -1) if len(x_VxN) % n == 0)
  x_PxN = reduce(x_VxN.reshape(parts, -1, x_VxN.shape[1]), axis=1)
  # Without the barrier XLA merges the two steps.
  return reduce(jax.lax.optimization_barrier(x_PxN), axis=0)
