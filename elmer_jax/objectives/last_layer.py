# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Plain non-autoregressive training: one cross-entropy, at the last decoder layer."""

import jax

from elmer_jax.model.elmer import Elmer
from elmer_jax.objectives import objective
from elmer_jax.objectives.objective import Objective, Sums


def loss(model: Elmer, batch: dict, keys_B: jax.Array, dropout: bool) -> Sums:
  """Sums the cross-entropy of the last layer.

  Args:
    model: the model.
    batch: `source_ids` [B, S], `target_ids` [B, T].
    keys_B: one key a row, for dropout.
    dropout: whether to drop.
  """
  targets_BxT = batch["target_ids"]
  encoded_BxSxD, mask_BxS, dropout_keys_B = objective.encode(
    model, batch, keys_B, dropout
  )
  hidden_BxTxD, _, _ = model.decode(
    model.blank_target(*targets_BxT.shape),
    encoded_BxSxD,
    mask_BxS,
    keys_B=dropout_keys_B,
  )
  output = objective.read_off_ramp(model, hidden_BxTxD, targets_BxT)
  return objective.token_sums(output, targets_BxT)


def evaluate(model: Elmer, batch: dict, keys_B: jax.Array) -> Sums:
  """Adds what the off-ramps of the lower layers say, untrained as they are."""
  sums = loss(model, batch, keys_B, dropout=False)
  return sums._replace(metrics=sums.metrics | objective.every_layer(model, batch))


def make() -> Objective:
  return Objective(loss, evaluate)
