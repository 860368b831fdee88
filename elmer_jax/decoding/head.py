# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The head where nothing is learnt: what it says, or only which token it likes best.

On a CPU a group of positions is multiplied with the table where it lies; in chunks of
the vocabulary, as training needs them, the table would be copied at every reading.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from elmer_jax.decoding.cpu import bfloat16_argmax
from elmer_jax.decoding.cpu.bfloat16_argmax import Screen
from elmer_jax.model.elmer import Elmer, Head
from elmer_jax.objectives.linear_cross_entropy import (
  linear_cross_entropy,
  logits_by_id,
)
from elmer_jax.tokenizer.special_ids import PAD_ID

_TOKENS = 64  # whose logits exist at one time on a CPU: 13 MB at base size
_PARTS = 64  # of the vocabulary, for threads to share a reduction


class Said(NamedTuple):
  """What the head says at each position, [B, T] each."""

  ids: jax.Array  # int32, the most likely token (the lowest among equals)
  log_probability: jax.Array | None  # float32, of it, in nats
  entropy: jax.Array | None  # float32, in nats


def read(model: Elmer, hidden_BxTxD: jax.Array, choose_with_bias: bool = True) -> Said:
  """Applies the shared head at the off-ramp behind a layer."""
  return jax.lax.platform_dependent(
    model.decoder.off_ramp(hidden_BxTxD),
    model.head(choose_with_bias),
    cpu=lambda states, head: _in_groups(lambda group: _read(group, head), states),
    default=lambda states, head: _read_in_chunks(states, head, model.config.head_chunk),
  )


def predict(
  model: Elmer,
  hidden_BxTxD: jax.Array,
  choose_with_bias: bool = True,
  guess_by: Screen | None = None,
) -> jax.Array:
  """Returns the ids of `read` alone; with a screen, in less time."""
  if guess_by is None:
    return read(model, hidden_BxTxD, choose_with_bias).ids
  head = model.head(choose_with_bias)

  def look(states_NxD):
    ids_N, is_certain = bfloat16_argmax.predict(states_NxD, head, guess_by)
    return jax.lax.cond(is_certain, lambda: ids_N, lambda: _read(states_NxD, head).ids)

  return _in_groups(look, model.decoder.off_ramp(hidden_BxTxD))


def _in_groups(function: Callable, states_BxTxD: jax.Array):
  """Maps `function`, from [N, D] to arrays [N], over all positions."""
  shape = states_BxTxD.shape[:-1]
  states_NxD = states_BxTxD.reshape(-1, states_BxTxD.shape[-1])
  count = len(states_NxD)
  groups = -(-count // _TOKENS)
  if groups == 1:
    found = function(states_NxD)
  else:
    size = -(-count // groups)
    padded = jnp.pad(states_NxD, ((0, groups * size - count), (0, 0)))
    found = jax.lax.map(function, padded.reshape(groups, size, -1))
  return jax.tree.map(lambda array: array.reshape(-1)[:count].reshape(shape), found)


def _read(states_NxD: jax.Array, head: Head) -> Said:
  logits_VxN = logits_by_id(states_NxD, head)
  scores_VxN = logits_VxN + head.choice_shift_V[:, None]
  # The arg-max, as two reductions: XLA's own is slow on a CPU.
  best_N = _reduce(jnp.max, scores_VxN)
  ids_Vx1 = jnp.arange(len(scores_VxN))[:, None]
  winners_VxN = jnp.where(scores_VxN == best_N[None], ids_Vx1, len(scores_VxN))
  ids_N = _reduce(jnp.min, winners_VxN)
  # The best score is the highest logit, or near it: either keeps the sums in range.
  weights_VxN = jnp.exp(logits_VxN - best_N[None])
  sum_N = _reduce(jnp.sum, weights_VxN)
  log_sum_N = jnp.log(sum_N) + best_N
  mean_N = _reduce(jnp.sum, weights_VxN * logits_VxN) / sum_N
  log_probability_N = best_N - head.choice_shift_V[ids_N] - log_sum_N
  return Said(ids_N.astype(jnp.int32), log_probability_N, log_sum_N - mean_N)


def _reduce(reduce: Callable, x_VxN: jax.Array) -> jax.Array:
  """Reduces over the vocabulary in two steps, so that threads can share the first."""
  parts = next(n for n in range(_PARTS, 0, -1) if len(x_VxN) % n == 0)
  x_PxN = reduce(x_VxN.reshape(parts, -1, x_VxN.shape[1]), axis=1)
  # Without the barrier XLA makes it one step again.
  return reduce(jax.lax.optimization_barrier(x_PxN), axis=0)


def _read_in_chunks(states_BxTxD: jax.Array, head: Head, chunk: int) -> Said:
  unknown_BxT = jnp.full(states_BxTxD.shape[:-1], PAD_ID, jnp.int32)
  output = linear_cross_entropy(states_BxTxD, head, unknown_BxT, chunk)
  return Said(output.prediction, output.log_probability, output.entropy)
