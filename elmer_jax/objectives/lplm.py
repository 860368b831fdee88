# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Layer permutation language modelling, ELMER's pre-training objective.

Every target token draws its own exit layer, uniformly from the decoder's layers. It is
predicted from its state there, and the layers above read a copy of that state, without
a gradient through the copy. So all layers learn to predict tokens while some of the
other tokens have exited and some have not.

A worked row, with three layers (numbers are exit layers, counted from 0):

    target           the    cat   sat   EOS   PAD
    exit layer        1      0     2     1     0
    into layer 1     h0'    copy   h0'   h0'  copy      ' from layer 0
    into layer 2     copy   copy   h1'  copy  copy
    loss from        h1     h0     h2    h1    -
"""

import jax
import jax.numpy as jnp

from elmer_jax.model import layers
from elmer_jax.model.decoder import AfterLayer
from elmer_jax.model.elmer import Elmer
from elmer_jax.objectives import objective
from elmer_jax.objectives.objective import Objective, Sums


def draw_exit_layers(keys_B: jax.Array, length: int, count: int) -> jax.Array:
  """Returns exit layers [B, T] int32, uniform in 0 … count - 1, drawn row by row."""
  return jax.vmap(lambda key: jax.random.randint(key, (length,), 0, count))(keys_B)


def copy_exited(exit_layers_BxT: jax.Array) -> AfterLayer:
  """Returns the hook that freezes each token's state after its exit layer.

  The carry [B, T, D] holds the exit states of the tokens that have exited.
  """
  exits_BxTx1 = exit_layers_BxT[..., None]

  def after_layer(index, raw_BxTxD, exit_BxTxD):
    exit_BxTxD = jnp.where(exits_BxTx1 == index, raw_BxTxD, exit_BxTxD)
    frozen_BxTxD = jax.lax.stop_gradient(exit_BxTxD)
    hidden_BxTxD = jnp.where(exits_BxTx1 <= index, frozen_BxTxD, raw_BxTxD)
    return hidden_BxTxD, exit_BxTxD, None

  return after_layer


def decode_with_copies(
  model: Elmer,
  encoded_BxSxD: jax.Array,
  source_mask_BxS: jax.Array | None,
  decoder_ids_BxT: jax.Array,
  exit_layers_BxT: jax.Array,
  target_mask_BxT: jax.Array | None = None,
  keys_B: jax.Array | None = None,
) -> jax.Array:
  """Returns each token's state at its exit layer [B, T, D].

  The layers pass on two arrays [B, T, D], not one per layer.
  """
  shape = (*exit_layers_BxT.shape, model.config.d_model)
  _, exit_BxTxD, _ = model.decode(
    decoder_ids_BxT,
    encoded_BxSxD,
    source_mask_BxS,
    target_mask_BxT,
    keys_B,
    after_layer=copy_exited(exit_layers_BxT),
    carry=jnp.zeros(shape, encoded_BxSxD.dtype),
  )
  return exit_BxTxD


def loss(
  model: Elmer, batch: dict, keys_B: jax.Array, step: jax.Array | int, train: bool
) -> Sums:
  """Sums the cross-entropy at the exit states; see `objective.Loss`."""
  del step
  exit_layers_BxT = draw_exit_layers(
    layers.fold_in(keys_B, objective.EXIT_LAYERS),
    batch["target_ids"].shape[1],
    model.config.decoder_layers,
  )
  encoded = objective.encode(model, batch, keys_B, train)
  blank_BxT = model.blank_target(*batch["target_ids"].shape)
  return loss_at(model, encoded, blank_BxT, exit_layers_BxT, batch["target_ids"])


def loss_at(
  model: Elmer,
  encoded: objective.Encoded,
  decoder_ids_BxT: jax.Array,
  exit_layers_BxT: jax.Array,
  targets_BxT: jax.Array,
  smoothing: float = 0.0,
  target_mask_BxT: jax.Array | None = None,
) -> Sums:
  """Sums the cross-entropy at the exit states of given exit layers.

  Args:
    model: the model.
    encoded: its sources.
    decoder_ids_BxT: the decoder's input.
    exit_layers_BxT: int32, counted from 0.
    targets_BxT: PAD where nothing is scored.
    smoothing: label smoothing.
    target_mask_BxT: bool, the target positions that exist; None: all.
  """
  exit_BxTxD = decode_with_copies(
    model,
    encoded.states_BxSxD,
    encoded.mask_BxS,
    decoder_ids_BxT,
    exit_layers_BxT,
    target_mask_BxT,
    keys_B=encoded.keys_B,
  )
  output = objective.read_off_ramp(model, exit_BxTxD, targets_BxT, smoothing=smoothing)
  return objective.token_sums(output, targets_BxT)


def make() -> Objective:
  """Returns the objective."""
  return objective.with_layer_metrics(loss)
