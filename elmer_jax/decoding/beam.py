# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Beam search with Hugging Face's rules for complete texts and for the end of a search.

There are twice as many candidates as beams. The best ones without EOS stay open; those
with EOS among the best `beams` become complete texts. A source is done when it has
`beams` complete texts and, without early stopping, no open one can still score higher
than the worst of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from elmer_jax.decoding.incremental import (
  NEVER,
  Search,
  Sequences,
  StepDecoder,
  blank,
  constrain,
)
from elmer_jax.tokenizer.special_ids import EOS_ID, PAD_ID

# Start score of all beams but the first, so that they don't all choose the same.
_LOW_SCORE = -1e9


class _State(NamedTuple):
  count: jax.Array  # [] int32, tokens so far
  # The texts, [B, K, T] each, after the decoder's start token; the scores of the open
  # ones are sums of log-probabilities.
  open: Sequences
  complete: Sequences
  done_B: jax.Array
  cache: list


def search(
  decoder: StepDecoder, sources: int, length: int, search: Search
) -> Sequences:
  """Finds the `search.beams` best texts of every source; traced by `decode`."""
  beams = search.beams
  ids_BxKxT = blank(sources * beams, length).reshape(sources, beams, -1)
  certain_BxKxT = jnp.zeros(ids_BxKxT.shape, jnp.float32)
  start_K = jnp.where(jnp.arange(beams) == 0, 0.0, _LOW_SCORE)
  start_BxK = jnp.broadcast_to(start_K[None], (sources, beams))
  nothing_BxKxT = jnp.full_like(ids_BxKxT, PAD_ID)
  state = jax.lax.while_loop(
    lambda state: (state.count < length) & ~state.done_B.all(),
    lambda state: _extend(decoder, state, length, search),
    _State(
      jnp.int32(0),
      Sequences(ids_BxKxT, start_BxK, certain_BxKxT),
      Sequences(nothing_BxKxT, jnp.full_like(start_BxK, NEVER), certain_BxKxT),
      jnp.zeros(sources, bool),
      decoder.empty_cache(sources * beams, length),
    ),
  )
  cut_short_BxK = jnp.where(
    state.done_B[:, None], NEVER, _normalised(state.open.scores, state.count, search)
  )
  unfinished = state.open._replace(scores=cut_short_BxK)
  best = _best(beams, state.complete, unfinished)
  return Sequences(best.ids[..., 1:], best.scores, best.log_probability[..., 1:])


def _extend(decoder: StepDecoder, state: _State, length: int, search: Search) -> _State:
  """Adds one token to every open text."""
  sources, beams, _ = state.open.ids.shape
  count = state.count + 1
  candidates, parent_BxC, cache = _candidates(decoder, state, length, search)
  ends_BxC = candidates.ids[..., count] == EOS_ID

  # Complete texts: candidates with EOS among the best `beams`.
  counts_BxC = ends_BxC & (jnp.arange(2 * beams) < beams)[None] & ~state.done_B[:, None]
  ended_BxC = jnp.where(
    counts_BxC, _normalised(candidates.scores, count, search), NEVER
  )
  complete = _best(beams, state.complete, candidates._replace(scores=ended_BxC))

  # Open texts: the first `beams` candidates without EOS, in their order.
  order_BxC = jnp.where(ends_BxC, 2 * beams, 0) + jnp.arange(2 * beams)[None]
  _, open_BxK = jax.lax.top_k(-order_BxC, beams)
  parent_BxK = jnp.take_along_axis(parent_BxC, open_BxK, axis=1)
  rows_N = (parent_BxK + jnp.arange(sources)[:, None] * beams).reshape(-1)
  return _State(
    count,
    _pick(candidates, open_BxK),
    complete,
    state.done_B | _is_done(complete, candidates.scores, count, search),
    jax.tree.map(lambda rows_NxTxHxK: rows_NxTxHxK[rows_N], cache),
  )


def _candidates(
  decoder: StepDecoder, state: _State, length: int, search: Search
) -> tuple[Sequences, jax.Array, list]:
  """Returns the 2 · beams best texts with one more token, their parents, the cache."""
  sources, beams, _ = state.open.ids.shape
  ids_NxT = state.open.ids.reshape(sources * beams, -1)
  logits_NxV, cache = decoder.decode_step(
    ids_NxT[:, state.count], state.count, state.cache
  )
  log_probability_NxV = constrain(
    jax.nn.log_softmax(logits_NxV), ids_NxT, state.count, length, search
  )
  size = logits_NxV.shape[1]
  sums_NxV = log_probability_NxV + state.open.scores.reshape(-1, 1)
  sums_BxC, index_BxC = jax.lax.top_k(sums_NxV.reshape(sources, -1), 2 * beams)
  parent_BxC, token_BxC = index_BxC // size, index_BxC % size
  last_BxC = jnp.take_along_axis(
    log_probability_NxV.reshape(sources, -1), index_BxC, axis=1
  )
  parents = _pick(state.open, parent_BxC)
  candidates = Sequences(
    parents.ids.at[:, :, state.count + 1].set(token_BxC),
    sums_BxC,
    parents.log_probability.at[:, :, state.count + 1].set(last_BxC),
  )
  return candidates, parent_BxC, cache


def _is_done(
  complete: Sequences, sums_BxC: jax.Array, count: jax.Array, search: Search
) -> jax.Array:
  """Returns [B], whether no open text can still become one of the complete ones."""
  worst_B = complete.scores[:, -1]
  if search.early_stopping:
    return worst_B > NEVER
  return (worst_B > NEVER) & (worst_B >= _normalised(sums_BxC[:, 0], count, search))


def _normalised(sums: jax.Array, count: jax.Array, search: Search) -> jax.Array:
  return sums / count.astype(jnp.float32) ** search.length_penalty


def _best(beams: int, *groups: Sequences) -> Sequences:
  """Returns the best `beams` texts of all groups, earlier groups first."""
  texts = Sequences(
    *(jnp.concatenate(parts, axis=1) for parts in zip(*groups, strict=True))
  )
  return _pick(texts, jax.lax.top_k(texts.scores, beams)[1])


def _pick(texts: Sequences, index_BxK: jax.Array) -> Sequences:
  ids, scores, log_probability = texts
  return Sequences(
    jnp.take_along_axis(ids, index_BxK[..., None], axis=1),
    jnp.take_along_axis(scores, index_BxK, axis=1),
    jnp.take_along_axis(log_probability, index_BxK[..., None], axis=1),
  )
