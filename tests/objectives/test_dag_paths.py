# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Sums and maxima over paths equal those of all paths, one by one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elmer_jax.model.transitions import NEVER, successor_scores
from elmer_jax.objectives import dag_paths

VERTICES, LABELS = 6, 4


def random_graph(seed: int, window: int, batch: int = 3):
  """Returns transitions [B, W, P], their dense form [B, P, P], emissions, lengths."""
  rng = np.random.default_rng(seed)
  dense = np.full((batch, VERTICES, VERTICES), NEVER)
  banded = np.full((batch, window, VERTICES), NEVER)
  for row, start in itertools.product(range(batch), range(VERTICES)):
    ends = range(start + 1, min(start + window + 1, VERTICES))
    if not ends:
      continue
    scores = rng.normal(size=len(ends)) * 2
    scores -= np.log(np.exp(scores).sum())
    for end, score in zip(ends, scores, strict=True):
      dense[row, start, end] = banded[row, end - start - 1, start] = score
  emissions = rng.normal(size=(batch, VERTICES, LABELS)) * 2
  lengths = rng.integers(1, LABELS + 1, batch)
  return jnp.float32(banded), dense, jnp.float32(emissions), jnp.int32(lengths)


def paths(dense, emissions, length):
  """Yields every path with its score."""
  for rest in itertools.combinations(range(1, VERTICES), length - 1):
    path = (0, *rest)
    steps = sum(dense[a, b] for a, b in itertools.pairwise(path))
    yield path, steps + sum(emissions[v, t] for t, v in enumerate(path))


@pytest.mark.parametrize("window", [2, VERTICES])
@pytest.mark.parametrize("seed", range(4))
def test_the_likelihood_is_the_sum_over_all_paths(seed, window):
  banded, dense, emissions, lengths = random_graph(seed, window)
  found = dag_paths.log_likelihood(banded, emissions, lengths)
  for row, length in enumerate(lengths.tolist()):
    scores = [s for _, s in paths(dense[row], np.asarray(emissions[row]), length)]
    expected = np.logaddexp.reduce(scores)
    np.testing.assert_allclose(found[row], expected, rtol=1e-5)


@pytest.mark.parametrize("window", [3, VERTICES])
def test_gradients_are_posteriors_of_transitions_and_emissions(window):
  banded, dense, emissions, lengths = random_graph(7, window)

  def total(transitions, emissions):
    return dag_paths.log_likelihood(transitions, emissions, lengths).sum()

  d_transitions, d_emissions = jax.grad(total, (0, 1))(banded, emissions)
  for row, length in enumerate(lengths.tolist()):
    every = list(paths(dense[row], np.asarray(emissions[row]), length))
    scores = np.array([score for _, score in every])
    posterior = np.exp(scores - np.logaddexp.reduce(scores))
    used = np.zeros((VERTICES, LABELS))
    went = np.zeros((window, VERTICES))
    for (path, _), share in zip(every, posterior, strict=True):
      for index, vertex in enumerate(path):
        used[vertex, index] += share
      for a, b in itertools.pairwise(path):
        if b - a <= window:
          went[b - a - 1, a] += share
    np.testing.assert_allclose(d_emissions[row], used, atol=1e-5)
    np.testing.assert_allclose(d_transitions[row], went, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_best_alignment_is_the_best_of_all_paths(seed):
  banded, dense, emissions, lengths = random_graph(seed, VERTICES)
  found = dag_paths.best_alignment(banded, emissions, lengths)
  for row, length in enumerate(lengths.tolist()):
    every = paths(dense[row], np.asarray(emissions[row]), length)
    best, _ = max(every, key=lambda item: item[1])
    expected = np.full(VERTICES, -1)
    expected[list(best)] = np.arange(length)
    np.testing.assert_array_equal(found[row], expected)


def test_texts_that_no_path_has_room_for_are_impossible():
  banded, _, emissions, _ = random_graph(0, 1)
  wide = jnp.pad(emissions, ((0, 0), (0, 0), (0, 8)))
  found = dag_paths.log_likelihood(banded, wide, jnp.full(3, LABELS + 8))
  assert (found < NEVER / 2).all() and np.isfinite(found).all()


@pytest.mark.parametrize(("count", "window"), [(7, 7), (7, 3), (8, 2), (5, 1)])
def test_successor_scores_are_products_with_the_following_keys(count, window):
  rng = np.random.default_rng(0)
  queries, keys = jnp.float32(rng.normal(size=(2, 2, count, 3, 4)))
  found = successor_scores(queries, keys, window)
  assert found.shape == (2, 3, window, count)
  for step, start in itertools.product(range(window), range(count)):
    end = start + step + 1
    expected = np.zeros((2, 3))
    if end < count:
      expected = np.einsum("bhk,bhk->bh", queries[:, start], keys[:, end])
    np.testing.assert_allclose(found[:, :, step, start], expected, atol=1e-5)
