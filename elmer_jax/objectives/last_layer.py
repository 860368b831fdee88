# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Plain non-autoregressive training: one cross-entropy, at the last decoder layer."""

import functools

import jax
import ml_collections

from elmer_jax.model.elmer import Elmer
from elmer_jax.objectives import glancing, objective
from elmer_jax.objectives.glancing import NO_GLANCING, GlancingOptions
from elmer_jax.objectives.objective import Objective, Sums


def loss(
  model: Elmer,
  batch: dict,
  keys_B: jax.Array,
  step: jax.Array | int,
  train: bool,
  *,
  smoothing: float = 0.0,
  glancing_options: GlancingOptions = NO_GLANCING,
) -> Sums:
  """Sums the cross-entropy of the last layer; see `objective.Loss`.

  Args:
    model, batch, keys_B, step, train: see `objective.Loss`.
    smoothing: label smoothing, in training.
    glancing_options: the part of the target that is revealed, in training.
  """
  encoded = objective.encode(model, batch, keys_B, train)
  revealed = glancing.glance(
    model,
    batch["target_ids"],
    encoded,
    keys_B,
    step,
    glancing_options if train else NO_GLANCING,
  )
  hidden_BxTxD, _, _ = model.decode(
    revealed.decoder_ids_BxT,
    encoded.states_BxSxD,
    encoded.mask_BxS,
    keys_B=encoded.keys_B,
  )
  output = objective.read_off_ramp(
    model,
    hidden_BxTxD,
    revealed.targets_BxT,
    smoothing=smoothing if train else 0.0,
  )
  sums = objective.token_sums(output, revealed.targets_BxT)
  return sums._replace(metrics=sums.metrics | revealed.metrics)


def make(options: ml_collections.ConfigDict) -> Objective:
  """Returns the objective for `config.objective`; its lower off-ramps are untrained."""
  return objective.with_layer_metrics(
    functools.partial(
      loss,
      smoothing=objective.label_smoothing(options),
      glancing_options=glancing.get_options(options),
    )
  )
