# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Linear layer and cross-entropy in one, over chunks of the vocabulary.

A full [tokens, vocabulary] array of logits would be by far the largest array of a step
(256 × 512 tokens at base size: 24.5 GiB in float32). Here a scan over chunks of the
vocabulary keeps a running maximum and log-sum-exp per token, and the backward pass
computes each chunk's logits again. If one chunk is the whole vocabulary, its logits are
kept instead, which saves a quarter of the head's FLOPs for small batches.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from elmer_jax.model.elmer import PADDING_LOGIT, Head
from elmer_jax.model.sharding_constraints import constrain


class HeadOutput(NamedTuple):
  """The head's output at each position; only `nll` has a gradient."""

  nll: jax.Array  # [...] float32, -log p(target) in nats, with label smoothing if any
  prediction: jax.Array  # [...] int32, the most likely id (the lowest among equals)
  log_probability: jax.Array  # [...] float32, of the prediction, in nats
  entropy: jax.Array  # [...] float32, in nats
  # [...] bool, whether the prediction is the target; cheaper than the arg-max, which
  # XLA removes from a training step that does not read `prediction`.
  is_correct: jax.Array


def linear_cross_entropy(
  states: jax.Array,
  head: Head,
  targets: jax.Array,
  chunk: int,
  smoothing: float = 0.0,
) -> HeadOutput:
  """Applies the head to states and compares with targets.

  Args:
    states: [..., D] in any float dtype; products are summed in float32.
    head: the table [V, D] and bias [V].
    targets: [...] int32 ids.
    chunk: maximum number of rows of the table in one matrix product.
    smoothing: share of the target's weight that is spread over the whole vocabulary,
      the target included: label smoothing of Szegedy et al., 2016 (arXiv 1512.00567).

  Returns:
    Arrays shaped as `targets`. The log-sum-exp over chunks is the online softmax of
    Milakov and Gimelshein, 2018 (arXiv 1805.02867).
  """
  shape = targets.shape
  output = _per_token(
    states.reshape(-1, states.shape[-1]), head, targets.reshape(-1), chunk, smoothing
  )
  return HeadOutput(*(array.reshape(shape) for array in output))


def full_logits(states: jax.Array, head: Head) -> jax.Array:
  """Returns all logits [..., V] float32, for few states."""
  logits_VxN = logits_by_id(states.reshape(-1, states.shape[-1]), head)
  return logits_VxN.T.reshape(*states.shape[:-1], -1)


def logits_by_id(states_NxD: jax.Array, head: Head) -> jax.Array:
  """Returns all logits [V, N]: for few states this order is up to 1.6 times faster.

  (On a CPU, which then reads the table along its rows.)
  """
  states_NxD = states_NxD.astype(head.table_VxD.dtype)
  return _dot("vd,nd->vn", head.table_VxD, states_NxD) + head.bias_V[:, None]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _per_token(
  states_NxD, head: Head, targets_N, chunk: int, smoothing: float
) -> HeadOutput:
  output, _ = _forward(states_NxD, head, targets_N, chunk, smoothing)
  return output


def _forward(states_NxD, head: Head, targets_N, chunk: int, smoothing: float):
  tables, biases, shifts = _chunks(head, chunk)
  real_count = _real_count(head)
  count = tables.shape[0]
  tokens = states_NxD.shape[0]

  def body(running, inputs):
    best_N, best_id_N, sum_N, weighted_N, target_N, total_N = running
    index, table_CxD, bias_C, shift_C = inputs
    logits_NxC = _logits(states_NxD, table_CxD, bias_C)
    scores_NxC = logits_NxC + shift_C[None]
    top_N = jnp.max(scores_NxC, axis=-1)
    # The arg-max as two reductions: on a CPU XLA's own takes longer than the logits.
    is_top_NxC = scores_NxC == top_N[:, None]
    ids_1xC = jnp.arange(scores_NxC.shape[1])[None] * count + index
    id_N = jnp.where(is_top_NxC, ids_1xC, head.table_VxD.shape[0]).min(-1)
    wins_N = (top_N > best_N) | ((top_N == best_N) & (id_N < best_id_N))
    new_best_N = jnp.maximum(best_N, top_N)
    shrink_N = jnp.exp(best_N - new_best_N)
    weights_NxC = jnp.exp(logits_NxC - new_best_N[:, None])
    own_N = jnp.take_along_axis(logits_NxC, (targets_N // count)[:, None], axis=-1)
    running = (
      new_best_N,
      jnp.where(wins_N, id_N, best_id_N),
      sum_N * shrink_N + weights_NxC.sum(-1),
      weighted_N * shrink_N + (weights_NxC * logits_NxC).sum(-1),
      jnp.where(targets_N % count == index, own_N[:, 0], target_N),
      total_N + jnp.where(_is_real(bias_C)[None], logits_NxC, 0.0).sum(-1),
    )
    return running, logits_NxC if count == 1 else None

  zeros_N = jnp.zeros(tokens, jnp.float32)
  start = (zeros_N - jnp.inf, jnp.zeros(tokens, jnp.int32), *[zeros_N] * 4)
  (best_N, best_id_N, sum_N, weighted_N, target_N, total_N), kept = jax.lax.scan(
    body, start, (jnp.arange(count), tables, biases, shifts)
  )
  log_sum_N = best_N + jnp.log(sum_N)
  wanted_N = target_N
  if smoothing:
    wanted_N = (1 - smoothing) * target_N + smoothing * total_N / real_count
  output = HeadOutput(
    nll=log_sum_N - wanted_N,
    prediction=best_id_N,
    log_probability=best_N - head.choice_shift_V[best_id_N] - log_sum_N,
    # Rounding could make it negative.
    entropy=jnp.maximum(log_sum_N - weighted_N / sum_N, 0.0),
    is_correct=target_N + head.choice_shift_V[targets_N] == best_N,
  )
  return output, (states_NxD, head, targets_N, log_sum_N, kept)


def _backward(chunk: int, smoothing: float, residuals, cotangent: HeadOutput):
  states_NxD, head, targets_N, log_sum_N, kept = residuals
  tables, biases, _ = _chunks(head, chunk)
  real_count = _real_count(head)
  count, rows = biases.shape

  def body(d_states_NxD, inputs):
    index, table_CxD, bias_C, logits_NxC = inputs
    if logits_NxC is None:
      logits_NxC = _logits(states_NxD, table_CxD, bias_C)
    # d nll / d logits = softmax - wanted; unsmoothed, that is one-hot
    is_target_NxC = (targets_N[:, None] % count == index) & (
      targets_N[:, None] // count == jnp.arange(rows)[None]
    )
    wanted_NxC = is_target_NxC
    if smoothing:
      wanted_NxC = (1 - smoothing) * is_target_NxC + jnp.where(
        _is_real(bias_C), smoothing / real_count, 0.0
      )[None]
    d_logits_NxC = jnp.exp(logits_NxC - log_sum_N[:, None]) - wanted_NxC
    d_logits_NxC *= cotangent.nll[:, None]
    narrow_NxC = d_logits_NxC.astype(table_CxD.dtype)
    d_states_NxD += constrain(_dot("nc,cd->nd", narrow_NxC, table_CxD), "batch", None)
    d_table_CxD = _dot("nc,nd->cd", narrow_NxC, states_NxD)
    d_table_CxD = constrain(d_table_CxD, "vocab", "embed")
    return d_states_NxD, (d_table_CxD.astype(table_CxD.dtype), d_logits_NxC.sum(0))

  d_states_NxD, (d_tables, d_biases) = jax.lax.scan(
    body,
    jnp.zeros(states_NxD.shape, jnp.float32),
    (jnp.arange(count), tables, biases, kept),
  )
  d_head = Head(
    d_tables.swapaxes(0, 1).reshape(head.table_VxD.shape),
    d_biases.swapaxes(0, 1).reshape(head.bias_V.shape),
    jnp.zeros_like(head.choice_shift_V),
  )
  return d_states_NxD.astype(states_NxD.dtype), d_head, None


_per_token.defvjp(_forward, _backward)


def _chunks(head: Head, chunk: int) -> Head:
  """Splits the head: tables [chunks, rows, D], biases and shifts [chunks, rows].

  Chunk c holds the ids i·chunks + c: the split is strided, so that each chunk has rows
  of every device's shard of a sharded vocabulary.
  """
  rows = head.table_VxD.shape[0]
  count = next(n for n in range(-(-rows // chunk), rows + 1) if rows % n == 0)

  def split(rows_Vx: jax.Array, *axes: str) -> jax.Array:
    strided = rows_Vx.reshape(rows // count, count, *rows_Vx.shape[1:])
    return constrain(strided.swapaxes(0, 1), None, "vocab", *axes)

  return Head(split(head[0], "embed"), split(head[1]), split(head[2]))


def _is_real(bias_V) -> jax.Array:
  """Distinguishes ids of the vocabulary from padding rows of the table."""
  return bias_V > PADDING_LOGIT / 2


def _real_count(head: Head) -> jax.Array:
  """Returns the number of ids without padding rows, [] float32."""
  return _is_real(head.bias_V).sum().astype(jnp.float32)


def _logits(states_NxD, table_CxD, bias_C) -> jax.Array:
  table_CxD = constrain(table_CxD, "vocab", None)
  logits_NxC = _dot("nd,cd->nc", states_NxD, table_CxD) + bias_C[None]
  return constrain(logits_NxC, "batch", "vocab")


def _dot(formula: str, a: jax.Array, b: jax.Array) -> jax.Array:
  return jnp.einsum(formula, a, b, preferred_element_type=jnp.float32)
