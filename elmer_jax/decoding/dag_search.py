# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Search for a text in a directed acyclic graph of decoder positions.

Every vertex offers its most likely token; a path from vertex 0 that ends at a vertex
which emits EOS is a text. Three ways to choose the path, from the fastest to the best:

  greedy     the most likely successor of each vertex
  lookahead  the successor with the most likely pair of transition and token
  viterbi    the path whose log-probability, divided by (tokens, EOS included) ** α, is
             the highest: Shao et al., 2022 (arXiv 2210.05193)

All run on the device, in time linear in the window W of the transitions.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from elmer_jax.model.transitions import NEVER
from elmer_jax.objectives.dag_paths import arrivals, by_target, first_vertex
from elmer_jax.tokenizer.special_ids import EOS_ID, PAD_ID


class Graph(NamedTuple):
  """The decoder's predictions as a graph of P vertices."""

  transitions_BxWxP: jax.Array  # log-probabilities, as `model.transitions` returns them
  ids_BxP: jax.Array  # int32, the most likely token of each vertex
  log_probability_BxP: jax.Array  # of that token, in nats
  eos_log_probability_BxP: jax.Array


class Path(NamedTuple):
  """The chosen path of each text; entries after EOS are PAD and 0."""

  ids_BxT: jax.Array  # int32
  log_probability_BxT: jax.Array  # of each token at its vertex, in nats
  vertices_BxT: jax.Array  # int32


def greedy(graph: Graph, length: int, length_exponent: object = None) -> Path:
  """Follows the most likely transition from each vertex; the exponent has no part."""
  del length_exponent
  return _follow(graph, graph.transitions_BxWxP.argmax(1), length)


def lookahead(graph: Graph, length: int, length_exponent: object = None) -> Path:
  """Follows the most likely pair of a transition and its vertex's token."""
  del length_exponent
  window, count = graph.transitions_BxWxP.shape[1:]
  padded_BxQ = jnp.pad(
    graph.log_probability_BxP, ((0, 0), (0, window)), constant_values=NEVER
  )
  successors_WxP = jnp.arange(window)[:, None] + 1 + jnp.arange(count)[None]
  scores_BxWxP = graph.transitions_BxWxP + padded_BxQ[:, successors_WxP]
  return _follow(graph, scores_BxWxP.argmax(1), length)


def _follow(graph: Graph, steps_BxP: jax.Array, length: int) -> Path:
  """Walks from vertex 0 by `steps_BxP` + 1 vertices at a time."""
  last = graph.ids_BxP.shape[1] - 1

  def walk(vertex_B, _):
    step_B = _at(steps_BxP, vertex_B)
    return jnp.minimum(vertex_B + step_B + 1, last), vertex_B

  start_B = jnp.zeros(len(steps_BxP), steps_BxP.dtype)
  _, vertices_TxB = jax.lax.scan(walk, start_B, None, length)
  vertices_BxT = vertices_TxB.T
  # A path that has reached the last vertex cannot go on.
  ends_BxT = jnp.take_along_axis(graph.ids_BxP, vertices_BxT, 1) == EOS_ID
  ends_BxT |= vertices_BxT == last
  after_BxT = (jnp.cumsum(ends_BxT, -1) - ends_BxT) > 0
  return _read(graph, vertices_BxT, after_BxT)


def viterbi(graph: Graph, length: int, length_exponent: float | jax.Array) -> Path:
  """Returns the best path of at most `length` tokens, EOS included.

  Args:
    graph: the decoder's predictions.
    length: T, at least 2.
    length_exponent: α. 0 favours short texts, as every token lowers a log-probability;
      the right value depends on the checkpoint and is fitted on validation data.
  """
  incoming_BxWxP = by_target(graph.transitions_BxWxP)
  token_BxP = jnp.where(graph.ids_BxP == EOS_ID, NEVER, graph.log_probability_BxP)

  def step(scores_BxP, count):
    every_BxWxP = arrivals(scores_BxP, incoming_BxWxP)
    reached_BxP = every_BxWxP.max(1)
    ended_BxP = reached_BxP + graph.eos_log_probability_BxP
    best_B = ended_BxP.max(1) / (count + 1.0) ** length_exponent
    state = jnp.maximum(reached_BxP + token_BxP, NEVER)
    return state, (every_BxWxP.argmax(1), ended_BxP.argmax(1), best_B)

  _, (steps_SxBxP, ends_SxB, scores_SxB) = jax.lax.scan(
    step, first_vertex(token_BxP), jnp.arange(1, length)
  )
  # Text s has s + 1 tokens and EOS. Its vertices, from the last one down:
  chosen_B = scores_SxB.argmax(0)

  def back(vertex_B, inputs):
    index, steps_BxP, ends_B = inputs
    vertex_B = jnp.where(index == chosen_B, ends_B, vertex_B)
    before_B = vertex_B - _at(steps_BxP, vertex_B) - 1
    return jnp.where(index <= chosen_B, before_B, vertex_B), vertex_B

  start_B = jnp.zeros(len(token_BxP), ends_SxB.dtype)
  first_B, vertices_SxB = jax.lax.scan(
    back, start_B, (jnp.arange(length - 1), steps_SxBxP, ends_SxB), reverse=True
  )
  vertices_BxT = jnp.concatenate([first_B[None], vertices_SxB]).T
  is_eos_BxT = jnp.arange(length)[None] == chosen_B[:, None] + 1
  after_BxT = jnp.arange(length)[None] > chosen_B[:, None] + 1
  path = _read(graph, vertices_BxT, after_BxT)
  eos_BxT = jnp.take_along_axis(graph.eos_log_probability_BxP, vertices_BxT, 1)
  return path._replace(
    ids_BxT=jnp.where(is_eos_BxT, EOS_ID, path.ids_BxT),
    log_probability_BxT=jnp.where(is_eos_BxT, eos_BxT, path.log_probability_BxT),
  )


def _read(graph: Graph, vertices_BxT: jax.Array, after_BxT: jax.Array) -> Path:
  ids_BxT = jnp.take_along_axis(graph.ids_BxP, vertices_BxT, 1)
  best_BxT = jnp.take_along_axis(graph.log_probability_BxP, vertices_BxT, 1)
  return Path(
    jnp.where(after_BxT, PAD_ID, ids_BxT).astype(jnp.int32),
    jnp.where(after_BxT, 0.0, best_BxT),
    jnp.where(after_BxT, 0, vertices_BxT).astype(jnp.int32),
  )


def _at(array_BxP: jax.Array, vertex_B: jax.Array) -> jax.Array:
  return jnp.take_along_axis(array_BxP, vertex_B[:, None], 1)[:, 0]
