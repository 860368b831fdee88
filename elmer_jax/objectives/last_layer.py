# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Plain non-autoregressive training: one cross-entropy, at the last decoder layer."""

import functools

import jax
import ml_collections

from elmer_jax.model.elmer import Elmer
from elmer_jax.objectives import glancing, objective
from elmer_jax.objectives.glancing import NO_GLANCING, Glancing
from elmer_jax.objectives.objective import Objective, Sums


def loss(
  model: Elmer,
  batch: dict,
  keys_B: jax.Array,
  dropout: bool,
  *,
  smoothing: float = 0.0,
  glances: Glancing = NO_GLANCING,
) -> Sums:
  """Sums the cross-entropy of the last layer.

  Args:
    model: the model.
    batch: `source_ids` [B, S], `target_ids` [B, T].
    keys_B: one key a row, for dropout and glancing.
    dropout: whether to drop; without, nothing is smoothed or told either.
    smoothing: of the labels.
    glances: how much of the target is told.
  """
  encoded = objective.encode(model, batch, keys_B, dropout)
  told = glancing.glance(
    model, batch, encoded, keys_B, glances if dropout else NO_GLANCING
  )
  hidden_BxTxD, _, _ = model.decode(
    told.decoder_ids_BxT,
    encoded.states_BxSxD,
    encoded.mask_BxS,
    keys_B=encoded.keys_B,
  )
  output = objective.read_off_ramp(
    model,
    hidden_BxTxD,
    told.targets_BxT,
    smoothing=smoothing if dropout else 0.0,
  )
  sums = objective.token_sums(output, told.targets_BxT)
  return sums._replace(metrics=sums.metrics | told.metrics)


def evaluate(model: Elmer, batch: dict, keys_B: jax.Array) -> Sums:
  """Adds what the off-ramps of the lower layers say, untrained as they are."""
  sums = loss(model, batch, keys_B, dropout=False)
  return sums._replace(metrics=sums.metrics | objective.every_layer(model, batch))


def make(options: ml_collections.ConfigDict) -> Objective:
  """Returns the objective for `config.objective`."""
  form = functools.partial(
    loss,
    smoothing=objective.smoothing_of(options),
    glances=glancing.options_of(options),
  )
  return Objective(form, evaluate)
