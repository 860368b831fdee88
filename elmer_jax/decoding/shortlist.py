# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Soft exit's guesses from a text's own shortlist of tokens; an approximation.

The head costs more than a layer, and soft exit asks it behind every one. What a text
may say is mostly known behind the first: so there the whole head is asked which tokens
come nearest to being some position's best, and the layers between it and the last
choose among those. The last one, which writes the text, has the whole vocabulary.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from elmer_jax.decoding.cpu.bfloat16_argmax import Screen
from elmer_jax.model.elmer import Elmer
from elmer_jax.objectives.linear_cross_entropy import logits_by_id

_TEXTS = 8  # whose logits exist at one time on an accelerator


class Shortlist(NamedTuple):
  """K tokens of each text, and what the head has of them."""

  ids_BxK: jax.Array  # int32, rising, so that the lowest wins among equals
  table_BxKxD: jax.Array
  bias_BxK: jax.Array  # float32, what is added to the products for the choice

  def predict(self, model: Elmer, hidden_BxTxD: jax.Array) -> jax.Array:
    """Returns the likeliest of these tokens behind a layer, int32 [B, T]."""
    states_BxTxD = model.decoder.off_ramp(hidden_BxTxD)
    scores_BxTxK = jnp.einsum(
      "btd,bkd->btk",
      states_BxTxD.astype(self.table_BxKxD.dtype),
      self.table_BxKxD,
      preferred_element_type=jnp.float32,
    )
    scores_BxTxK += self.bias_BxK[:, None]
    is_best_BxTxK = scores_BxTxK == scores_BxTxK.max(-1, keepdims=True)
    none = model.config.padded_vocabulary_size
    return jnp.where(is_best_BxTxK, self.ids_BxK[:, None], none).min(-1)


def draw_up(
  model: Elmer,
  hidden_BxTxD: jax.Array,
  size: int,
  seen_BxT: jax.Array | None = None,
  rough: Screen | None = None,
) -> Shortlist:
  """Returns the tokens that lag least behind the best one of some position.

  Args:
    model: whose head is asked, without the choice's bias.
    hidden_BxTxD: the first layer's output.
    size: K; with T or more of them, each position's best is among them (as `rough`
      ranks them, where it is given).
    seen_BxT: bool, which positions exist; None: all.
    rough: the table in bfloat16, where that is faster: good enough for this.
  """
  head = model.head(choose_with_bias=False)
  shift_V = head.bias_V + head.choice_shift_V
  asked = head if rough is None else head._replace(table_VxD=rough.table_VxD)
  if seen_BxT is None:
    seen_BxT = jnp.ones(hidden_BxTxD.shape[:2], bool)

  def of_text(text) -> jax.Array:
    states_TxD, seen_T = text
    logits_VxT = logits_by_id(states_TxD.astype(asked.table_VxD.dtype), asked)
    scores_VxT = logits_VxT + head.choice_shift_V[:, None]
    lag_VxT = scores_VxT.max(0)[None] - scores_VxT
    lag_V = jnp.where(seen_T[None], lag_VxT, jnp.inf).min(1)
    return jnp.sort(jax.lax.top_k(-lag_V, size)[1])

  ids_BxK = jax.lax.platform_dependent(
    (model.decoder.off_ramp(hidden_BxTxD), seen_BxT),
    cpu=functools.partial(jax.lax.map, of_text),
    default=functools.partial(jax.lax.map, of_text, batch_size=_TEXTS),
  )
  return Shortlist(ids_BxK, head.table_VxD[ids_BxK], shift_V[ids_BxK])
