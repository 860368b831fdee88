# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Soft exit with predictions from a shortlist of tokens per text; an approximation.

The head costs more than a layer, and soft exit applies it after every layer. Most
tokens of a text are among the likely ones after the first layer. So the whole head is
applied there and after the last layer; in between, predictions are limited to the
tokens whose scores come closest to the best score of some position.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from elmer_jax.decoding.layerwise_model import LayerwiseModel
from elmer_jax.objectives.linear_cross_entropy import logits_by_id


class Shortlist(NamedTuple):
  """K tokens of each text, and the head's rows for them."""

  ids_BxK: jax.Array  # int32, ascending, so that the lowest id wins among equals
  table_BxKxD: jax.Array
  bias_BxK: jax.Array  # float32, added to the products before the arg-max

  def predict(self, model: LayerwiseModel, hidden_BxTxD: jax.Array) -> jax.Array:
    """Returns the likeliest of these tokens after a layer, int32 [B, T]."""
    scores_BxTxK = jnp.einsum(
      "btd,bkd->btk",
      model.off_ramp(hidden_BxTxD).astype(self.table_BxKxD.dtype),
      self.table_BxKxD,
      preferred_element_type=jnp.float32,
    )
    scores_BxTxK += self.bias_BxK[:, None]
    is_best_BxTxK = scores_BxTxK == scores_BxTxK.max(-1, keepdims=True)
    none = model.config.padded_vocabulary_size
    return jnp.where(is_best_BxTxK, self.ids_BxK[:, None], none).min(-1)


def select(
  model: LayerwiseModel,
  hidden_BxTxD: jax.Array,
  size: int,
  mask_BxT: jax.Array | None = None,
) -> Shortlist:
  """Returns the tokens with the smallest gap to the best score of some position.

  Args:
    model: whose `ranking_head` gives the scores.
    hidden_BxTxD: the first layer's output.
    size: K; with K ≥ T the best token of every position is included (as
      `ranking_head` ranks them).
    mask_BxT: bool, false for positions beyond the text; None: nowhere.
  """
  head = model.head(choose_with_bias=False)
  ranking_head = model.ranking_head()
  if mask_BxT is None:
    mask_BxT = jnp.ones(hidden_BxTxD.shape[:2], bool)

  def select_text(text) -> jax.Array:
    states_TxD, mask_T = text
    logits_VxT = logits_by_id(states_TxD, ranking_head)
    scores_VxT = logits_VxT + head.choice_shift_V[:, None]
    gap_VxT = scores_VxT.max(0)[None] - scores_VxT
    gap_V = jnp.where(mask_T[None], gap_VxT, jnp.inf).min(1)
    return jnp.sort(jax.lax.top_k(-gap_V, size)[1])

  ids_BxK = model.map_texts(select_text, (model.off_ramp(hidden_BxTxD), mask_BxT))
  bias_V = head.bias_V + head.choice_shift_V
  return Shortlist(ids_BxK, head.table_VxD[ids_BxK], bias_V[ids_BxK])
