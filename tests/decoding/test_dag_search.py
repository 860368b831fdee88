# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Paths through a graph are those that trying all paths finds."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elmer_jax.decoding import dag_search
from elmer_jax.decoding.dag_search import Graph
from elmer_jax.model.transitions import NEVER
from elmer_jax.tokenizer.special_ids import EOS_ID, PAD_ID

VERTICES, LENGTH, BATCH = 7, 5, 6


def random_graph(seed: int, window: int) -> Graph:
  rng = np.random.default_rng(seed)
  exists = np.arange(window)[:, None] + 1 + np.arange(VERTICES)[None] < VERTICES
  transitions = np.where(exists, rng.normal(size=(BATCH, window, VERTICES)), NEVER)
  ids = rng.integers(4, 20, (BATCH, VERTICES))
  ids[:, 1:][rng.random((BATCH, VERTICES - 1)) < 0.3] = EOS_ID
  best, eos = -rng.exponential(size=(2, BATCH, VERTICES))
  eos = np.where(ids == EOS_ID, best, eos - 1)
  return Graph(
    jax.nn.log_softmax(jnp.float32(transitions), 1),
    jnp.int32(ids),
    jnp.float32(best),
    jnp.float32(eos),
  )


def score_of(graph: Graph, row: int, path, exponent: float) -> float:
  """Returns the normalised score of a path, whose last vertex emits EOS."""
  transitions = np.asarray(graph.transitions_BxWxP[row])
  total = 0.0
  for a, b in itertools.pairwise(path):
    if b - a > len(transitions):
      return -np.inf
    total += transitions[b - a - 1, a]
  for vertex in path[:-1]:
    if graph.ids_BxP[row, vertex] == EOS_ID:
      return -np.inf
    total += float(graph.log_probability_BxP[row, vertex])
  total += float(graph.eos_log_probability_BxP[row, path[-1]])
  return total / len(path) ** exponent


@pytest.mark.parametrize("window", [2, VERTICES])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.5])
@pytest.mark.parametrize("seed", range(3))
def test_viterbi_finds_the_best_of_all_paths(seed, exponent, window):
  graph = random_graph(seed, window)
  found = dag_search.viterbi(graph, LENGTH, exponent)
  for row in range(BATCH):
    candidates = [
      (0, *rest)
      for count in range(1, LENGTH)
      for rest in itertools.combinations(range(1, VERTICES), count)
    ]
    scores = [score_of(graph, row, path, exponent) for path in candidates]
    best = candidates[int(np.argmax(scores))]
    np.testing.assert_array_equal(found.vertices_BxT[row, : len(best)], best)
    expected = [*np.asarray(graph.ids_BxP[row])[list(best[:-1])], EOS_ID]
    expected += [PAD_ID] * (LENGTH - len(expected))
    np.testing.assert_array_equal(found.ids_BxT[row], expected)


@pytest.mark.parametrize("method", ["greedy", "lookahead"])
@pytest.mark.parametrize("window", [3, VERTICES])
def test_steps_go_to_the_best_successor_until_eos(method, window):
  graph = random_graph(4, window)
  found = getattr(dag_search, method)(graph, VERTICES)
  for row in range(BATCH):
    vertex, path = 0, [0]
    ids = np.asarray(graph.ids_BxP[row])
    while ids[vertex] != EOS_ID and vertex < VERTICES - 1:
      ends = range(vertex + 1, min(vertex + window + 1, VERTICES))
      values = [
        float(graph.transitions_BxWxP[row, end - vertex - 1, vertex])
        + (float(graph.log_probability_BxP[row, end]) if method == "lookahead" else 0)
        for end in ends
      ]
      vertex = ends[int(np.argmax(values))]
      path.append(vertex)
    np.testing.assert_array_equal(found.vertices_BxT[row, : len(path)], path)
    np.testing.assert_array_equal(found.ids_BxT[row, : len(path)], ids[path])
    assert (np.asarray(found.ids_BxT)[row, len(path) :] == PAD_ID).all()
