# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Hard exit: fine-tuning for tokens that leave at the first layer that is sure of them.

Decoding stops a token where its off-ramp's entropy falls below a threshold and copies
its state upward (`decoding.one_pass`). So the layers are trained among such copies: as
in pre-training (`lplm`), each token at an exit layer drawn for it.

When decoding, easy tokens leave early and often all others stay to the last layer,
which of L layers drawn uniformly gets one L-th of the loss. `full_depth` is the share
of rows whose tokens all stay, as they do with a threshold of 0: no further pass is
needed for it. It is 0 by default, the published form.

A gate may drop positions behind the text (`decoding.gated`), which others have had for
keys so far. `dropped` is the share of rows that train for it: they lose all positions
from one on that is drawn between the end of the text and the end of the row.
"""

import functools

import jax
import jax.numpy as jnp
import ml_collections

from elmer_jax.core.errors import UserError
from elmer_jax.model import layers
from elmer_jax.model.elmer import Elmer
from elmer_jax.objectives import glancing, lplm, objective
from elmer_jax.objectives.glancing import NO_GLANCING, Glancing
from elmer_jax.objectives.objective import Objective, Sums
from elmer_jax.tokenizer.special_ids import PAD_ID


def draw_exit_layers(
  keys_B: jax.Array, length: int, count: int, full_depth: float
) -> jax.Array:
  """Returns exit layers [B, T] int32: uniform, or the last layer for a whole row."""
  keys_B = layers.fold_in(keys_B, objective.EXIT_LAYERS)
  drawn_BxT = lplm.draw_exit_layers(keys_B, length, count)
  stays_B = jax.vmap(lambda key: jax.random.bernoulli(key, full_depth))(
    layers.fold_in(keys_B, 1)
  )
  return jnp.where(stays_B[:, None], count - 1, drawn_BxT)


def draw_seen(keys_B: jax.Array, targets_BxT: jax.Array, dropped: float) -> jax.Array:
  """Returns bool [B, T], the positions that each row keeps: its text's at least."""
  length = targets_BxT.shape[1]
  text_B = (targets_BxT != PAD_ID).sum(-1)

  def room(key: jax.Array, least: jax.Array) -> jax.Array:
    drops, where = jax.random.split(key)
    drawn = jax.random.randint(where, (), least, length + 1)
    return jnp.where(jax.random.bernoulli(drops, dropped), drawn, length)

  keys_B = layers.fold_in(keys_B, objective.DROPPED)
  return jnp.arange(length)[None] < jax.vmap(room)(keys_B, text_B)[:, None]


def loss(
  model: Elmer,
  batch: dict,
  keys_B: jax.Array,
  dropout: bool,
  *,
  full_depth: float,
  dropped: float = 0.0,
  smoothing: float = 0.0,
  glances: Glancing = NO_GLANCING,
) -> Sums:
  """Sums the cross-entropy at the exit states.

  Args:
    model: the model.
    batch: `source_ids` [B, S], `target_ids` [B, T].
    keys_B: one key a row, for the exit layers, dropout and glancing.
    dropout: whether to drop; without, nothing is smoothed or told either, and all
      positions are there.
    full_depth: share of rows whose tokens all run through all layers.
    dropped: share of rows without some of the positions behind their text.
    smoothing: of the labels.
    glances: how much of the target is told; the first pass runs through all layers.
  """
  length = batch["target_ids"].shape[1]
  exit_layers_BxT = draw_exit_layers(
    keys_B, length, model.config.decoder_layers, full_depth
  )
  encoded = objective.encode(model, batch, keys_B, dropout)
  told = glancing.glance(
    model, batch, encoded, keys_B, glances if dropout else NO_GLANCING
  )
  seen_BxT = None
  if dropout and dropped:
    seen_BxT = draw_seen(keys_B, batch["target_ids"], dropped)
  sums = lplm.loss_at(
    model,
    encoded,
    told.decoder_ids_BxT,
    exit_layers_BxT,
    told.targets_BxT,
    smoothing if dropout else 0.0,
    seen_BxT,
  )
  return sums._replace(metrics=sums.metrics | told.metrics)


def make(options: ml_collections.ConfigDict) -> Objective:
  """Returns the objective for `config.objective`.

  Raises:
    UserError: `full_depth` or `dropped` is no share, or `exit_threshold` no entropy.
  """
  if not options.exit_threshold >= 0:
    raise UserError(
      f"objective.exit_threshold is 0 nats or more; it is {options.exit_threshold}"
    )
  for name in ("full_depth", "dropped"):
    if not 0 <= options[name] <= 1:
      raise UserError(f"objective.{name} is a share, 0 to 1; it is {options[name]}")
  form = functools.partial(
    loss,
    full_depth=options.full_depth,
    dropped=options.dropped,
    smoothing=objective.smoothing_of(options),
    glances=glancing.options_of(options),
  )

  def evaluate(model: Elmer, batch: dict, keys_B: jax.Array) -> Sums:
    sums = form(model, batch, keys_B, False)
    return sums._replace(metrics=sums.metrics | objective.every_layer(model, batch))

  return Objective(form, evaluate)
