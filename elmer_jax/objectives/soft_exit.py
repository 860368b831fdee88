# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Soft exit, ELMER's fine-tuning objective: each layer passes its prediction upward.

Between two decoder layers the embedding of the off-ramp's prediction is mixed into the
state of a token, `h ← W [h ; E(arg-max)]`. The loss is the mean of the cross-entropies
of all layers.

In training the gold token replaces the prediction with some probability. As published
this leaks twice: a mixed position is scored in layers that have seen its gold token,
and after EOS the gold token is PAD, which reveals the length. Here a position is mixed
in all layers or in none, only real targets are mixed, and mixed positions are scored in
the first layer only. `published_mixing` gives the published form.
"""

import functools

import jax
import jax.numpy as jnp
import ml_collections

from elmer_jax.model import layers
from elmer_jax.model.elmer import Elmer
from elmer_jax.model.embedding import look_up
from elmer_jax.model.sharding_constraints import constrain
from elmer_jax.objectives import glancing, objective
from elmer_jax.objectives.glancing import NO_GLANCING, GlancingOptions
from elmer_jax.objectives.linear_cross_entropy import HeadOutput
from elmer_jax.objectives.objective import Encoded, Objective, Sums
from elmer_jax.tokenizer.special_ids import PAD_ID


def read_off_ramp(
  model: Elmer,
  index: jax.Array,
  hidden_BxTxD: jax.Array,
  targets_BxT: jax.Array,
  smoothing: float = 0.0,
) -> HeadOutput:
  """Applies the head after layer `index`; only the last layer chooses with the bias."""
  is_last = index == model.config.decoder_layers - 1
  return objective.read_off_ramp(model, hidden_BxTxD, targets_BxT, is_last, smoothing)


def project(model: Elmer, hidden_BxTxD: jax.Array, ids_BxT: jax.Array) -> jax.Array:
  """Returns `W [h ; E(ids)]` [B, T, D], the next layer's input."""
  embedded_BxTxD = look_up(model.tokens[...], ids_BxT, hidden_BxTxD.dtype)
  both_BxTx2D = jnp.concatenate([hidden_BxTxD, embedded_BxTxD], axis=-1)
  return model.soft_exit(constrain(both_BxTx2D, "batch", None, None))


def loss(
  model: Elmer,
  batch: dict,
  keys_B: jax.Array,
  step: jax.Array | int,
  train: bool,
  *,
  mixing: float,
  published_mixing: bool,
  smoothing: float = 0.0,
  glancing_options: GlancingOptions = NO_GLANCING,
) -> Sums:
  """Sums the mean over layers of the off-ramps' cross-entropies.

  Args:
    model: a model with the soft-exit projection.
    batch, keys_B, step, train: see `objective.Loss`.
    mixing: probability that the gold token replaces the prediction, in training.
    published_mixing: drawn again at each off-ramp, for PAD too, and all scored.
    smoothing: label smoothing, in training.
    glancing_options: the part of the target that is revealed, in training; revealed
      positions are not scored.
  """
  targets_BxT = batch["target_ids"]
  encoded = objective.encode(model, batch, keys_B, train)
  revealed = glancing.glance(
    model,
    targets_BxT,
    encoded,
    keys_B,
    step,
    glancing_options if train else NO_GLANCING,
    lambda *frozen: _first_pass(*frozen, targets_BxT),
  )
  real_BxT = revealed.targets_BxT != PAD_ID
  mixed_LxBxT = draw_mixed(
    keys_B,
    targets_BxT,
    model.config.decoder_layers,
    mixing if train else 0.0,
    published_mixing,
  )

  def pass_upward(index, hidden_BxTxD, carry):
    output = read_off_ramp(
      model, index, hidden_BxTxD, targets_BxT, smoothing if train else 0.0
    )
    mixed_BxT = mixed_LxBxT[index]
    scored_BxT = real_BxT & (published_mixing | ~mixed_BxT | (index == 0))
    scored = scored_BxT.sum().astype(jnp.float32)
    next_ids_BxT = jnp.where(mixed_BxT, targets_BxT, output.prediction)
    sums = (
      (output.nll * scored_BxT).sum(),
      (output.is_correct & scored_BxT).sum().astype(jnp.float32),
      scored,
    )
    return project(model, hidden_BxTxD, next_ids_BxT), carry, sums

  _, _, (nll_L, correct_L, scored_L) = model.decode(
    revealed.decoder_ids_BxT,
    encoded.states_BxSxD,
    encoded.mask_BxS,
    keys_B=encoded.keys_B,
    after_layer=pass_upward,
  )
  # Each layer's mean, times the tokens of the batch: a sum over tokens again.
  tokens = real_BxT.sum().astype(jnp.float32)
  share_L = tokens / jnp.maximum(scored_L, 1.0)
  metrics = objective.layer_metrics(nll_L * share_L, correct_L * share_L)
  metrics["accuracy"] = correct_L[-1] * share_L[-1]
  return Sums((nll_L * share_L).mean(), tokens, metrics | revealed.metrics)


def _first_pass(model: Elmer, encoded: Encoded, targets_BxT: jax.Array) -> jax.Array:
  """Returns where the last layer predicts the target: bool [B, T]."""

  def pass_upward(index, hidden_BxTxD, carry):
    del carry
    output = read_off_ramp(model, index, hidden_BxTxD, targets_BxT)
    hidden_BxTxD = project(model, hidden_BxTxD, output.prediction)
    return hidden_BxTxD, output.is_correct, None

  _, is_correct_BxT, _ = model.decode(
    model.blank_target(*targets_BxT.shape),
    encoded.states_BxSxD,
    encoded.mask_BxS,
    after_layer=pass_upward,
    carry=jnp.zeros(targets_BxT.shape, bool),
  )
  return is_correct_BxT


def draw_mixed(
  keys_B: jax.Array,
  targets_BxT: jax.Array,
  count: int,
  probability: float,
  published: bool,
) -> jax.Array:
  """Draws where the gold token replaces the prediction: bool [L, B, T]."""
  mixing_keys_B = layers.fold_in(keys_B, objective.GOLD_MIXING)
  shape = (count, targets_BxT.shape[1])
  mixed_BxLxT = jax.vmap(lambda key: jax.random.bernoulli(key, probability, shape))(
    mixing_keys_B
  )
  mixed_LxBxT = mixed_BxLxT.swapaxes(0, 1)
  if published:
    return mixed_LxBxT
  once_LxBxT = jnp.broadcast_to(mixed_LxBxT[:1], mixed_LxBxT.shape)
  return once_LxBxT & (targets_BxT != PAD_ID)[None]


def make(options: ml_collections.ConfigDict) -> Objective:
  """Returns the objective for `config.objective`."""
  return objective.without_layer_metrics(
    functools.partial(
      loss,
      mixing=options.gold_mixing,
      published_mixing=options.published_mixing,
      smoothing=objective.label_smoothing(options),
      glancing_options=glancing.get_options(options),
    )
  )
