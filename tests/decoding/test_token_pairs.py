# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Statistics of neighbouring tokens, and what they do to a graph."""

import jax.numpy as jnp
import numpy as np
import pytest
import tiny_text

from elmer_jax.decoding import dag_search, token_pairs
from elmer_jax.decoding.dag_search import Graph
from elmer_jax.model.transitions import NEVER
from elmer_jax.tokenizer.special_ids import EOS_ID, PAD_ID


@pytest.fixture(scope="module")
def vocabulary():
  return tiny_text.vocabulary()


@pytest.fixture(scope="module")
def rows(vocabulary):
  texts = vocabulary.encode_batch(tiny_text.documents(30))
  return [np.append(ids, EOS_ID) for ids in texts]


@pytest.fixture(scope="module")
def pairs(vocabulary, rows):
  return token_pairs.count(rows, vocabulary)


def test_probabilities_of_successors_sum_to_one(vocabulary, rows, pairs):
  """exp(score) is p(y | x) / p(y) for seen and unseen pairs alike."""
  size = vocabulary.size
  second = np.concatenate([row[1:] for row in rows])
  share = np.bincount(second, minlength=size) / len(second)
  ratio = np.repeat(np.exp(np.asarray(pairs.unseen_V))[:, None], size, 1)
  keys = np.asarray(pairs.keys_N, np.int64)
  ratio[keys // size, keys % size] = np.exp(np.asarray(pairs.scores_N))
  np.testing.assert_allclose(ratio @ share, 1, rtol=1e-4)


def test_keys_are_the_pairs_of_the_texts(vocabulary, rows, pairs):
  seen = {(int(a), int(b)) for row in rows for a, b in zip(row, row[1:], strict=False)}
  keys = np.asarray(pairs.keys_N, np.int64)
  found = zip(*(half.tolist() for half in divmod(keys, vocabulary.size)), strict=True)
  assert set(found) == seen and (np.diff(keys) > 0).all()


def graph_of(ids) -> Graph:
  """Returns a graph in which all transitions of up to two vertices are possible."""
  count = len(ids)
  zeros = jnp.zeros((1, count))
  transitions = jnp.full((1, 2, count), np.log(0.5))
  return Graph(transitions, jnp.asarray(ids, jnp.int32)[None], zeros, zeros - 20.0)


def test_a_piece_that_continues_no_known_word_is_avoided(vocabulary, pairs):
  starts, continues = vocabulary.word_starts, np.asarray(pairs.continues_V)
  keys = set(np.asarray(pairs.keys_N).tolist())
  first = int(np.flatnonzero(starts)[5])
  glued = next(
    int(i)
    for i in np.flatnonzero(continues)
    if first * vocabulary.size + int(i) not in keys
  )
  # Twice the same token, a piece that never follows it, and the end of the text.
  graph = graph_of([first, first, glued, first, EOS_ID])
  source = jnp.full((1, 4), PAD_ID)
  found = token_pairs.rescore(graph, pairs, 0.2, source).transitions_BxWxP[0]
  assert found[0, 0] == NEVER  # first → first
  assert found[1, 0] == NEVER and found[0, 1] == NEVER  # first → glued
  assert found[0, 3] > NEVER  # first → EOS
  # What the source itself contains is possible.
  source = jnp.array([[first, glued, first, first]])
  found = token_pairs.rescore(graph, pairs, 0.2, source).transitions_BxWxP[0]
  np.testing.assert_allclose(found[:, :2], graph.transitions_BxWxP[0, :, :2])


def test_a_weight_of_zero_changes_no_possible_transition(vocabulary, pairs, rows):
  graph = graph_of(rows[0][:12])
  found = token_pairs.rescore(graph, pairs, 0.0, jnp.full((1, 4), PAD_ID))
  possible = found.transitions_BxWxP > NEVER
  assert possible[:, 0, :10].all()  # neighbours in a training text
  np.testing.assert_array_equal(
    found.transitions_BxWxP[possible], graph.transitions_BxWxP[possible]
  )


def test_viterbi_prefers_neighbours_of_the_training_texts(vocabulary, pairs, rows):
  text = next(row for row in rows if len(row) > 8)
  a, b, c = text[:3]
  other = next(i for i in np.flatnonzero(vocabulary.word_starts) if i not in text)
  graph = graph_of([a, other, b, c, EOS_ID])
  scored = token_pairs.rescore(graph, pairs, 1.0, jnp.full((1, 4), PAD_ID))
  found = dag_search.viterbi(scored, 5, 1.0)
  assert other not in np.asarray(found.ids_BxT)
