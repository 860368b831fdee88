# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Dynamic programming over the paths of a directed acyclic graph of decoder positions.

A path starts at vertex 0 and emits one token at each vertex that it visits. The
probability of a text is the sum over all paths that emit its tokens in order:

  f₁(0) = log p(y₁ | vertex 0)
  f_t(j) = log p(y_t | vertex j) + logsumexp_i (f_{t-1}(i) + log p(i → j))
  log p(y) = logsumexp_j f_N(j)

A text ends where EOS is emitted, at any vertex, so no length is predicted. Sums are
taken in log space: products of probabilities would lose early vertices to underflow.
Source: DA-Transformer, Huang et al., ICML 2022 (arXiv 2205.07459), section 3.2.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from elmer_jax.model.transitions import NEVER

Reduce = Callable[..., jax.Array]  # jax.nn.logsumexp, or jnp.max


def by_target(outgoing_BxWxP: jax.Array) -> jax.Array:
  """Returns [B, W, P] sorted by the vertex reached: [w, j] from [w, j - w - 1].

  Entries without a vertex to come from are NEVER.
  """
  batch, window, count = outgoing_BxWxP.shape
  width = count + window + 1
  padded = jnp.pad(outgoing_BxWxP, ((0, 0), (0, 0), (1, window)), constant_values=NEVER)
  flat = padded.reshape(batch, window * width)[:, : window * (width - 1)]
  return flat.reshape(batch, window, width - 1)[:, :, :count]


def first_vertex(emissions_BxP: jax.Array) -> jax.Array:
  """Returns the scores [B, P] of the paths that have emitted one token."""
  is_first_P = jnp.arange(emissions_BxP.shape[1]) == 0
  return jnp.where(is_first_P[None], emissions_BxP, NEVER)


def arrivals(scores_BxP: jax.Array, incoming_BxWxP: jax.Array) -> jax.Array:
  """Returns the score of every path by its last transition [B, W, P].

  Args:
    scores_BxP: of paths that end at each vertex.
    incoming_BxWxP: transitions as `by_target` returns them.
  """
  outgoing_BxWxP = jnp.broadcast_to(scores_BxP[:, None], incoming_BxWxP.shape)
  return by_target(outgoing_BxWxP) + incoming_BxWxP


def log_likelihood(
  transitions_BxWxP: jax.Array,
  emissions_BxPxN: jax.Array,
  lengths_B: jax.Array,
  reduce: Reduce = jax.nn.logsumexp,
) -> jax.Array:
  """Returns log p(text) [B] float32, or with `jnp.max` that of its best path.

  Args:
    transitions_BxWxP: as `model.transitions` returns them.
    emissions_BxPxN: log-probability of the n-th token of the text at each vertex.
    lengths_B: int32, tokens of each text, EOS included. A text without tokens, and one
      that no path has room for, gives a value near NEVER.
  """
  incoming_BxWxP = by_target(transitions_BxWxP)
  by_token_NxBxP = emissions_BxPxN.transpose(2, 0, 1)

  # Recomputed in the backward pass: what a scan would keep is [N, B, W, P].
  @jax.checkpoint
  def step(scores_BxP, inputs):
    index, emissions_BxP = inputs
    reached_BxP = reduce(arrivals(scores_BxP, incoming_BxWxP), axis=1)
    reached_BxP = jnp.maximum(reached_BxP + emissions_BxP, NEVER)
    return jnp.where((index < lengths_B)[:, None], reached_BxP, scores_BxP), None

  scores_BxP, _ = jax.lax.scan(
    step,
    first_vertex(by_token_NxBxP[0]),
    (jnp.arange(1, len(by_token_NxBxP)), by_token_NxBxP[1:]),
  )
  return reduce(scores_BxP, axis=1)


def best_alignment(
  transitions_BxWxP: jax.Array, emissions_BxPxN: jax.Array, lengths_B: jax.Array
) -> jax.Array:
  """Returns the index of the token that the best path emits at each vertex [B, P].

  int32, -1 at vertices that the path does not visit. The gradient of the best path's
  score is 1 at the emissions it uses and 0 elsewhere.
  """

  def score(emissions_BxPxN: jax.Array) -> jax.Array:
    return log_likelihood(transitions_BxWxP, emissions_BxPxN, lengths_B, jnp.max).sum()

  used_BxPxN = jax.grad(score)(emissions_BxPxN)
  visited_BxP = used_BxPxN.max(-1) > 0
  return jnp.where(visited_BxP, used_BxPxN.argmax(-1), -1).astype(jnp.int32)
