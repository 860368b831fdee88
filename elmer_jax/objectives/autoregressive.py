# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Autoregressive training: each token from those before it, as BART is trained.

The decoder is causal, starts from EOS and first writes BOS. A worked row:

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

START_ID = EOS_ID  # what the decoder reads first


def decoder_input(labels_BxT: jax.Array) -> jax.Array:
  """Returns the labels moved one place to the right, behind the start [B, T]."""
  return jnp.pad(labels_BxT[:, :-1], ((0, 0), (1, 0)), constant_values=START_ID)


def loss(
  model: Elmer,
  batch: dict,
  keys_B: jax.Array,
  dropout: bool,
  *,
  smoothing: float = 0.0,
) -> Sums:
  """Sums the cross-entropy of every next token, BOS and EOS included.

  Args:
    model: the model.
    batch: `source_ids` [B, S], `target_ids` [B, T] (BOS is put in front of them).
    keys_B: one key a row, for dropout.
    dropout: whether to drop; without, nothing is smoothed either.
    smoothing: of the labels.
  """
  labels_BxT = jnp.pad(batch["target_ids"], ((0, 0), (1, 0)), constant_values=BOS_ID)
  encoded_BxSxD, mask_BxS, dropout_keys_B = objective.encode(
    model, batch, keys_B, dropout
  )
  hidden_BxTxD, _, _ = model.decode(
    decoder_input(labels_BxT),
    encoded_BxSxD,
    mask_BxS,
    keys_B=dropout_keys_B,
    causal=True,
  )
  output = objective.read_off_ramp(
    model, hidden_BxTxD, labels_BxT, smoothing=smoothing if dropout else 0.0
  )
  return objective.token_sums(output, labels_BxT)


def make(options: ml_collections.ConfigDict) -> Objective:
  """Returns the objective for `config.objective`."""
  form = functools.partial(loss, smoothing=objective.smoothing_of(options))
  return Objective(form, lambda model, batch, keys_B: form(model, batch, keys_B, False))
