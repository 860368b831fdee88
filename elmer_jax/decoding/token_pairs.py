# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Neighbouring tokens of the training targets: which pairs occur, and how often.

The vertices of a directed acyclic graph choose their tokens independently, so a path
may join pieces that no word has ("Add" + "ds") or repeat one ("the the"). Statistics of
neighbours correct this at no cost in training: to a transition is added a weight times

  score(x, y) = log p(y | x) / p(y)                   pointwise mutual information, nats

with absolute discounting: p(y | x) = max(c(x, y) - d, 0) / c(x) + λ(x) p(y), where c
counts pairs and λ(x) = d · (successors of x) / c(x). Two kinds of pairs are impossible
unless they occur in the source itself: one that continues a word and is in no training
target, and a repeated token that is not more frequent there than by chance.
"""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from elmer_jax.decoding.dag_search import Graph
from elmer_jax.model.transitions import NEVER
from elmer_jax.tokenizer.bpe import Vocabulary

_DISCOUNT = 0.5
# The key of a pair is first · V + second in 32 bits.
LARGEST_VOCABULARY = 1 << 16


class TokenPairs(NamedTuple):
  """Statistics of N pairs of neighbouring tokens, for a vocabulary of V."""

  keys_N: jax.Array  # uint32, sorted
  scores_N: jax.Array  # float32, nats
  unseen_V: jax.Array  # float32, nats: the score of all other pairs, by first token
  continues_V: jax.Array  # bool, whether the token continues a word


def count(rows: Iterable[np.ndarray], vocabulary: Vocabulary) -> TokenPairs | None:
  """Returns the statistics of texts; None if the vocabulary is too large.

  Args:
    rows: integer ids of each text with EOS, without padding.
    vocabulary: of the ids.
  """
  size = vocabulary.size
  if size > LARGEST_VOCABULARY:
    return None
  pairs = [row[:-1].astype(np.int64) * size + row[1:] for row in rows]
  keys_N, counts_N = np.unique(np.concatenate(pairs), return_counts=True)
  first_N, second_N = keys_N // size, keys_N % size
  total_V = np.maximum(np.bincount(first_N, counts_N, size), 1)
  successors_V = np.bincount(first_N, minlength=size)
  unseen_V = np.where(successors_V > 0, _DISCOUNT * successors_V / total_V, 1.0)
  share_V = np.bincount(second_N, counts_N, size) / counts_N.sum()
  seen_N = (counts_N - _DISCOUNT) / total_V[first_N] / share_V[second_N]
  return TokenPairs(
    jnp.asarray(keys_N.astype(np.uint32)),
    jnp.asarray(np.log(seen_N + unseen_V[first_N]), jnp.float32),
    jnp.asarray(np.log(unseen_V), jnp.float32),
    jnp.asarray(continues_word(vocabulary)),
  )


def is_valid(pairs: TokenPairs, vocabulary_size: int) -> bool:
  """Returns whether arrays of a file are statistics for a vocabulary."""
  count = pairs.keys_N.shape
  return (
    len(count) == 1
    and pairs.keys_N.dtype == jnp.uint32
    and pairs.scores_N.shape == count
    and pairs.unseen_V.shape == pairs.continues_V.shape == (vocabulary_size,)
    and bool((pairs.keys_N[1:] > pairs.keys_N[:-1]).all())
    and bool(jnp.isfinite(pairs.scores_N).all() & jnp.isfinite(pairs.unseen_V).all())
  )


def continues_word(vocabulary: Vocabulary) -> np.ndarray:
  """Returns bool [V], whether a token begins with a letter or digit and no space."""
  pieces = vocabulary.pieces(np.arange(vocabulary.size))
  return np.array([piece[:1].isalnum() for piece in pieces]) & ~vocabulary.word_starts


def rescore(
  graph: Graph, pairs: TokenPairs, weight: jax.Array | float, source_ids_BxS: jax.Array
) -> Graph:
  """Returns the graph with the pairs' scores in its transitions; see the file's top.

  Args:
    graph: the decoder's predictions.
    pairs: the statistics.
    weight: of the scores.
    source_ids_BxS: int32, the sources.
  """
  size = len(pairs.unseen_V)
  window, count = graph.transitions_BxWxP.shape[1:]
  ids_BxP = jnp.minimum(graph.ids_BxP, size - 1)
  successors_WxP = jnp.arange(window)[:, None] + 1 + jnp.arange(count)[None]
  second_BxWxP = ids_BxP[:, jnp.minimum(successors_WxP, count - 1)]
  first_BxWxP = jnp.broadcast_to(ids_BxP[:, None], second_BxWxP.shape)

  keys_BxWxP = _keys(first_BxWxP, second_BxWxP, size)
  source_keys = jnp.sort(_keys(source_ids_BxS[:, :-1], source_ids_BxS[:, 1:], size))
  index_BxWxP, is_seen_BxWxP = _find(pairs.keys_N, keys_BxWxP)
  _, is_in_source_BxWxP = jax.vmap(_find)(source_keys, keys_BxWxP)
  score_BxWxP = jnp.where(
    is_seen_BxWxP,
    pairs.scores_N[index_BxWxP],
    jnp.where(is_in_source_BxWxP, 0.0, pairs.unseen_V[first_BxWxP]),
  )
  is_unknown_BxWxP = pairs.continues_V[second_BxWxP] & ~is_seen_BxWxP
  is_repeat_BxWxP = (first_BxWxP == second_BxWxP) & (score_BxWxP <= 0)
  is_impossible_BxWxP = (is_unknown_BxWxP | is_repeat_BxWxP) & ~is_in_source_BxWxP
  scored_BxWxP = graph.transitions_BxWxP + weight * score_BxWxP
  scored_BxWxP = jnp.where(is_impossible_BxWxP, NEVER, scored_BxWxP)
  return graph._replace(transitions_BxWxP=jnp.maximum(scored_BxWxP, NEVER))


def _keys(first: jax.Array, second: jax.Array, size: int) -> jax.Array:
  return first.astype(jnp.uint32) * jnp.uint32(size) + second.astype(jnp.uint32)


def _find(sorted_N: jax.Array, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns the indices of keys in a sorted array, and whether they are in it."""
  index = jnp.minimum(jnp.searchsorted(sorted_N, keys), len(sorted_N) - 1)
  return index, sorted_N[index] == keys
