# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Soft exit, ELMER's fine-tuning objective: every layer hands its guess upward.

Between two decoder layers the state of a token takes in the embedding of what the
off-ramp predicts there, `h ← W [h ; E(arg-max)]`, and the loss is the mean of the
cross-entropies at all layers.

In training the gold token may stand in for the prediction with some probability. As
published this leaks twice: a mixed position is scored in the layers that have seen its
gold token, and beyond EOS the gold is PAD, which tells the length. Here a position is
mixed in all layers or in none, only real targets are, and above the first layer a
mixed position is not scored. `published_mixing` gives the published form.
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
from elmer_jax.objectives.glancing import NO_GLANCING, Glancing
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
  """Reads the off-ramp of layer `index` as soft exit does: see `Elmer.head`."""
  is_last = index == model.config.decoder_layers - 1
  return objective.read_off_ramp(model, hidden_BxTxD, targets_BxT, is_last, smoothing)


def project(model: Elmer, hidden_BxTxD: jax.Array, ids_BxT: jax.Array) -> jax.Array:
  """Returns `W [h ; E(ids)]` [B, T, D], the next layer's input."""
  guessed_BxTxD = look_up(model.tokens[...], ids_BxT, hidden_BxTxD.dtype)
  both_BxTx2D = jnp.concatenate([hidden_BxTxD, guessed_BxTxD], axis=-1)
  return model.soft_exit(constrain(both_BxTx2D, "batch", None, None))


def loss(
  model: Elmer,
  batch: dict,
  keys_B: jax.Array,
  dropout: bool,
  *,
  mixing: float,
  published_mixing: bool,
  smoothing: float = 0.0,
  glances: Glancing = NO_GLANCING,
) -> Sums:
  """Sums the mean over layers of the off-ramps' cross-entropies.

  Args:
    model: a model with the soft-exit projection.
    batch: `source_ids` [B, S], `target_ids` [B, T].
    keys_B: one key a row, for dropout, mixing and glancing.
    dropout: whether to drop; without, nothing is mixed, smoothed or told either.
    mixing: probability that the gold token stands in for the prediction.
    published_mixing: a draw at each off-ramp, PAD mixed as well, all scored.
    smoothing: of the labels.
    glances: how much of the target is told; a told position is never scored.
  """
  targets_BxT = batch["target_ids"]
  encoded = objective.encode(model, batch, keys_B, dropout)
  told = glancing.glance(
    model,
    batch,
    encoded,
    keys_B,
    glances if dropout else NO_GLANCING,
    lambda *frozen: _first_pass(*frozen, targets_BxT),
  )
  real_BxT = told.targets_BxT != PAD_ID
  mixed_LxBxT = draw_mixed(
    keys_B,
    targets_BxT,
    model.config.decoder_layers,
    mixing if dropout else 0.0,
    published_mixing,
  )

  def hand_upward(index, hidden_BxTxD, carry):
    output = read_off_ramp(
      model, index, hidden_BxTxD, targets_BxT, smoothing if dropout else 0.0
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
    told.decoder_ids_BxT,
    encoded.states_BxSxD,
    encoded.mask_BxS,
    keys_B=encoded.keys_B,
    after_layer=hand_upward,
  )
  # Each layer's mean, times the tokens of the batch: a sum over tokens again.
  tokens = real_BxT.sum().astype(jnp.float32)
  share_L = tokens / jnp.maximum(scored_L, 1.0)
  metrics = objective.by_layer(nll_L * share_L, correct_L * share_L)
  metrics["accuracy"] = correct_L[-1] * share_L[-1]
  return Sums((nll_L * share_L).mean(), tokens, metrics | told.metrics)


def _first_pass(model: Elmer, encoded: Encoded, targets_BxT: jax.Array) -> jax.Array:
  """Returns where the last layer is right [B, T], with guesses handed upward."""

  def hand_upward(index, hidden_BxTxD, carry):
    del carry
    output = read_off_ramp(model, index, hidden_BxTxD, targets_BxT)
    hidden_BxTxD = project(model, hidden_BxTxD, output.prediction)
    return hidden_BxTxD, output.is_correct, None

  _, is_correct_BxT, _ = model.decode(
    model.blank_target(*targets_BxT.shape),
    encoded.states_BxSxD,
    encoded.mask_BxS,
    after_layer=hand_upward,
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
  """Returns bool [L, B, T]: where the gold token stands in, drawn row by row."""
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
  form = functools.partial(
    loss,
    mixing=options.gold_mixing,
    published_mixing=options.published_mixing,
    smoothing=objective.smoothing_of(options),
    glances=glancing.options_of(options),
  )
  return Objective(form, lambda model, batch, keys_B: form(model, batch, keys_B, False))
