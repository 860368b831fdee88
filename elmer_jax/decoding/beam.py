# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Beam search with Hugging Face's rules for when a text is complete and a search over.

Of twice as many candidates as beams, the best ones that don't end are carried on; those
that end and are among the best `beams` become complete texts. A source is done when it
has `beams` complete texts and, unless it stops early, none of the open ones can still
beat the worst of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from elmer_jax.decoding.incremental import (
  NEVER,
  Search,
  Sequences,
  Writer,
  blank,
  constrain,
)
from elmer_jax.special_ids import EOS_ID, PAD_ID

# What the beams but the first one start from, so that they don't all do the same.
_FAR_BEHIND = -1e9


class _State(NamedTuple):
  count: jax.Array  # [] int32, tokens written
  ids_BxKxT: jax.Array  # the open texts, behind the decoder's start
  open_scores_BxK: jax.Array  # sums of their log-probabilities
  complete: Sequences  # ids [B, K, T] behind the decoder's start; scores [B, K]
  done_B: jax.Array
  cache: list


def search(writer: Writer, sources: int, length: int, search: Search) -> Sequences:
  """Finds the `search.beams` best texts of every source; traced by `decode`."""
  beams = search.beams
  ids_BxKxT = blank(sources * beams, length).reshape(sources, beams, -1)
  start_K = jnp.where(jnp.arange(beams) == 0, 0.0, _FAR_BEHIND)
  nothing = Sequences(
    jnp.full_like(ids_BxKxT, PAD_ID), jnp.full(ids_BxKxT.shape[:2], NEVER)
  )
  state = jax.lax.while_loop(
    lambda state: (state.count < length) & ~state.done_B.all(),
    lambda state: _extend(writer, state, length, search),
    _State(
      jnp.int32(0),
      ids_BxKxT,
      jnp.broadcast_to(start_K[None], (sources, beams)),
      nothing,
      jnp.zeros(sources, bool),
      writer.empty_cache(sources * beams, length),
    ),
  )
  unfinished = Sequences(
    state.ids_BxKxT,
    jnp.where(
      state.done_B[:, None],
      NEVER,
      _normed(state.open_scores_BxK, state.count, search),
    ),
  )
  best = _best(beams, state.complete, unfinished)
  return best._replace(ids=best.ids[..., 1:])


def _extend(writer: Writer, state: _State, length: int, search: Search) -> _State:
  """Writes one more token of every open text."""
  sources, beams, _ = state.ids_BxKxT.shape
  flat_ids_NxT = state.ids_BxKxT.reshape(sources * beams, -1)
  logits_NxV, cache = writer.step(
    flat_ids_NxT[:, state.count], state.count, state.cache
  )
  scores_NxV = constrain(
    jax.nn.log_softmax(logits_NxV), flat_ids_NxT, state.count, length, search
  )
  size = scores_NxV.shape[1]
  sums_BxKV = (scores_NxV + state.open_scores_BxK.reshape(-1, 1)).reshape(sources, -1)
  sums_BxC, index_BxC = jax.lax.top_k(sums_BxKV, 2 * beams)
  parent_BxC, token_BxC = index_BxC // size, index_BxC % size
  texts_BxCxT = jnp.take_along_axis(state.ids_BxKxT, parent_BxC[..., None], axis=1)
  texts_BxCxT = texts_BxCxT.at[:, :, state.count + 1].set(token_BxC)
  ends_BxC = token_BxC == EOS_ID

  # Complete: they end, and are among the best `beams` candidates.
  ended = Sequences(
    texts_BxCxT,
    jnp.where(
      ends_BxC & (jnp.arange(2 * beams) < beams)[None] & ~state.done_B[:, None],
      _normed(sums_BxC, state.count + 1, search),
      NEVER,
    ),
  )
  complete = _best(beams, state.complete, ended)

  # Carried on: the first `beams` that don't end, in their order.
  order_BxC = jnp.where(ends_BxC, 2 * beams, 0) + jnp.arange(2 * beams)[None]
  _, carried_BxK = jax.lax.top_k(-order_BxC, beams)
  ids_BxKxT = jnp.take_along_axis(texts_BxCxT, carried_BxK[..., None], axis=1)
  parent_BxK = jnp.take_along_axis(parent_BxC, carried_BxK, axis=1)
  rows_N = (parent_BxK + jnp.arange(sources)[:, None] * beams).reshape(-1)
  return _State(
    state.count + 1,
    ids_BxKxT,
    jnp.take_along_axis(sums_BxC, carried_BxK, axis=1),
    complete,
    state.done_B | _is_done(complete, sums_BxC, state.count + 1, search),
    jax.tree.map(lambda rows_NxTxHxK: rows_NxTxHxK[rows_N], cache),
  )


def _is_done(
  complete: Sequences, sums_BxC: jax.Array, count: jax.Array, search: Search
) -> jax.Array:
  """Tells [B] where no open text can find its way among the complete ones."""
  worst_B = complete.scores[:, -1]
  if search.early_stopping:
    return worst_B > NEVER
  return (worst_B > NEVER) & (worst_B >= _normed(sums_BxC[:, 0], count, search))


def _normed(sums: jax.Array, count: jax.Array, search: Search) -> jax.Array:
  return sums / count.astype(jnp.float32) ** search.length_penalty


def _best(beams: int, *texts: Sequences) -> Sequences:
  """Returns the best `beams` of several lots, the best first, earlier lots first."""
  ids = jnp.concatenate([each.ids for each in texts], axis=1)
  scores = jnp.concatenate([each.scores for each in texts], axis=1)
  scores, index_BxK = jax.lax.top_k(scores, beams)
  return Sequences(jnp.take_along_axis(ids, index_BxK[..., None], axis=1), scores)
