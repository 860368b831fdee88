# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Autoregressive training, as of BART: each token is predicted from those before it.

The decoder is causal, reads EOS first and predicts BOS first. A worked row:

    labels           BOS   the   cat   EOS   PAD
    decoder input    EOS   BOS   the   cat   EOS
"""

import functools

import jax
import jax.numpy as jnp
import ml_collections

from elmer_jax.model.elmer import Elmer
from elmer_jax.objectives import objective
from elmer_jax.objectives.objective import Objective, Sums
from elmer_jax.tokenizer.special_ids import BOS_ID, EOS_ID

START_ID = EOS_ID  # the first input of the decoder


def decoder_input(labels_BxT: jax.Array) -> jax.Array:
  """Returns the labels shifted right by one, after START_ID [B, T]."""
  return jnp.pad(labels_BxT[:, :-1], ((0, 0), (1, 0)), constant_values=START_ID)


def loss(
  model: Elmer,
  batch: dict,
  keys_B: jax.Array,
  step: jax.Array | int,
  train: bool,
  *,
  smoothing: float = 0.0,
) -> Sums:
  """Sums the cross-entropy of every next token, BOS and EOS included.

  Args:
    model, batch, keys_B, step, train: see `objective.Loss`. BOS is put in front of the
      targets.
    smoothing: label smoothing, in training.
  """
  del step
  labels_BxT = jnp.pad(batch["target_ids"], ((0, 0), (1, 0)), constant_values=BOS_ID)
  encoded = objective.encode(model, batch, keys_B, train)
  hidden_BxTxD, _, _ = model.decode(
    decoder_input(labels_BxT),
    encoded.states_BxSxD,
    encoded.mask_BxS,
    keys_B=encoded.keys_B,
    causal=True,
  )
  output = objective.read_off_ramp(
    model, hidden_BxTxD, labels_BxT, smoothing=smoothing if train else 0.0
  )
  return objective.token_sums(output, labels_BxT)


def make(options: ml_collections.ConfigDict) -> Objective:
  """Returns the objective for `config.objective`."""
  return objective.without_layer_metrics(
    functools.partial(loss, smoothing=objective.label_smoothing(options))
  )
