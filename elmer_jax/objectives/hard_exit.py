# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Hard exit: fine-tuning for tokens that exit at the first confident layer.

In decoding a token exits where its off-ramp's entropy falls below a threshold, and its
state is copied upward (`decoding.one_pass`). So training uses such copies: as in
pre-training (`lplm`), each token draws its exit layer.

In decoding easy tokens exit early and often all others reach the last layer, which gets
only 1/L of the loss when L layers are drawn uniformly. `full_depth` is the share of
rows whose tokens all reach it; this needs no second pass. It is 0 by default, the
published form.

A gate may drop the positions after the end of the text while decoding, so that the
other positions no longer attend to them. `dropped` is the share of rows that train for
it: a length is drawn between the length of the text and that of the row, and the
positions from there on are dropped.
"""

import functools

import jax
import jax.numpy as jnp
import ml_collections

from elmer_jax.core.errors import UserError
from elmer_jax.model import layers
from elmer_jax.model.elmer import Elmer
from elmer_jax.objectives import glancing, lplm, objective
from elmer_jax.objectives.glancing import NO_GLANCING, GlancingOptions
from elmer_jax.objectives.objective import Objective, Sums
from elmer_jax.tokenizer.special_ids import PAD_ID


def draw_exit_layers(
  keys_B: jax.Array, length: int, count: int, full_depth: float
) -> jax.Array:
  """Draws exit layers [B, T] int32: uniform, or the last layer for a whole row."""
  keys_B = layers.fold_in(keys_B, objective.EXIT_LAYERS)
  drawn_BxT = lplm.draw_exit_layers(keys_B, length, count)
  is_full_depth_B = jax.vmap(lambda key: jax.random.bernoulli(key, full_depth))(
    layers.fold_in(keys_B, 1)
  )
  return jnp.where(is_full_depth_B[:, None], count - 1, drawn_BxT)


def draw_kept(keys_B: jax.Array, targets_BxT: jax.Array, dropped: float) -> jax.Array:
  """Draws the positions a row keeps, at least those of its text: bool [B, T]."""
  length = targets_BxT.shape[1]
  text_length_B = (targets_BxT != PAD_ID).sum(-1)

  def draw_length(key: jax.Array, text_length: jax.Array) -> jax.Array:
    drops_key, length_key = jax.random.split(key)
    shorter = jax.random.randint(length_key, (), text_length, length + 1)
    return jnp.where(jax.random.bernoulli(drops_key, dropped), shorter, length)

  keys_B = layers.fold_in(keys_B, objective.DROPPED)
  kept_length_B = jax.vmap(draw_length)(keys_B, text_length_B)
  return jnp.arange(length)[None] < kept_length_B[:, None]


def loss(
  model: Elmer,
  batch: dict,
  keys_B: jax.Array,
  step: jax.Array | int,
  train: bool,
  *,
  full_depth: float,
  dropped: float = 0.0,
  smoothing: float = 0.0,
  glancing_options: GlancingOptions = NO_GLANCING,
) -> Sums:
  """Sums the cross-entropy at the exit states.

  Args:
    model, batch, keys_B, step, train: see `objective.Loss`.
    full_depth: share of rows whose tokens all run through all layers.
    dropped: share of rows that lose positions after their text, in training.
    smoothing: label smoothing, in training.
    glancing_options: the part of the target that is revealed, in training; the first
      pass runs through all layers.
  """
  targets_BxT = batch["target_ids"]
  exit_layers_BxT = draw_exit_layers(
    keys_B, targets_BxT.shape[1], model.config.decoder_layers, full_depth
  )
  encoded = objective.encode(model, batch, keys_B, train)
  revealed = glancing.glance(
    model,
    targets_BxT,
    encoded,
    keys_B,
    step,
    glancing_options if train else NO_GLANCING,
  )
  kept_BxT = draw_kept(keys_B, targets_BxT, dropped) if train and dropped else None
  sums = lplm.loss_at(
    model,
    encoded,
    revealed.decoder_ids_BxT,
    exit_layers_BxT,
    revealed.targets_BxT,
    smoothing if train else 0.0,
    kept_BxT,
  )
  return sums._replace(metrics=sums.metrics | revealed.metrics)


def make(options: ml_collections.ConfigDict) -> Objective:
  """Returns the objective for `config.objective`.

  Raises:
    UserError: `full_depth` or `dropped` is not in [0, 1], or `exit_threshold` < 0.
  """
  if not options.exit_threshold >= 0:
    raise UserError(
      f"objective.exit_threshold must be 0 nats or more; it is {options.exit_threshold}"
    )
  for name in ("full_depth", "dropped"):
    if not 0 <= options[name] <= 1:
      raise UserError(f"objective.{name} must be from 0 to 1; it is {options[name]}")
  return objective.with_layer_metrics(
    functools.partial(
      loss,
      full_depth=options.full_depth,
      dropped=options.dropped,
      smoothing=objective.label_smoothing(options),
      glancing_options=glancing.get_options(options),
    )
  )
