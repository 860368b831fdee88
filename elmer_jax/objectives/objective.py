# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What an objective is: from a model and a batch to sums over target tokens.

Sums, not means: micro-batches and processes add up exactly, however the padding falls.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections

from elmer_jax.core.errors import UserError
from elmer_jax.model import layers
from elmer_jax.model.elmer import Elmer
from elmer_jax.objectives.linear_cross_entropy import HeadOutput, linear_cross_entropy
from elmer_jax.tokenizer.special_ids import PAD_ID

# Streams of random numbers. A row's key is a function of (seed, step, global row), and
# each use folds one of these in, so that no two uses share their draws.
DROPOUT, EXIT_LAYERS, GOLD_MIXING, GLANCING, DROPPED = 0, 1, 2, 3, 4


class Sums(NamedTuple):
  """Sums over a batch's counted target tokens (not PAD; EOS counts)."""

  loss: jax.Array  # [] float32, nats; what is minimised is loss / tokens
  tokens: jax.Array  # [] float32
  metrics: dict[str, jax.Array]  # name → [] float32, to be divided by tokens as well


class Objective(NamedTuple):
  """The two faces of an objective.

  `loss(model, batch, keys_B, dropout)` is what training minimises; a training step's
  batch has `update` [B] too, the number of updates before it. `evaluate(model, batch,
  keys_B)` adds loss and accuracy of every decoder layer. Keys are one a row.
  """

  loss: Callable[[Elmer, dict, jax.Array, bool], Sums]
  evaluate: Callable[[Elmer, dict, jax.Array], Sums]


class Encoded(NamedTuple):
  """What every objective starts from."""

  states_BxSxD: jax.Array
  mask_BxS: jax.Array  # bool, the source positions that count
  keys_B: jax.Array | None  # the decoder's, for dropout; None: no dropout


def encode(model: Elmer, batch: dict, keys_B: jax.Array, dropout: bool) -> Encoded:
  """Encodes the sources of a batch, with dropout or without."""
  dropout_keys_B = layers.fold_in(keys_B, DROPOUT) if dropout else None
  states_BxSxD, mask_BxS = model.encode(batch["source_ids"], dropout_keys_B)
  return Encoded(states_BxSxD, mask_BxS, dropout_keys_B)


def read_off_ramp(
  model: Elmer,
  hidden_BxTxD: jax.Array,
  targets_BxT: jax.Array,
  choose_with_bias: bool | jax.Array = True,
  smoothing: float = 0.0,
) -> HeadOutput:
  """Applies the shared head at the off-ramp behind a layer."""
  return read_head(
    model,
    model.decoder.off_ramp(hidden_BxTxD),
    targets_BxT,
    choose_with_bias,
    smoothing,
  )


def read_head(
  model: Elmer,
  states_BxTxD: jax.Array,
  targets_BxT: jax.Array,
  choose_with_bias: bool | jax.Array = True,
  smoothing: float = 0.0,
) -> HeadOutput:
  """Applies the shared head to states that are as it reads them (normed)."""
  return linear_cross_entropy(
    states_BxTxD,
    model.head(choose_with_bias),
    targets_BxT,
    model.config.head_chunk,
    smoothing,
  )


def smoothing_of(options: ml_collections.ConfigDict) -> float:
  """Reads `config.objective.label_smoothing`; raises `UserError` if it is no share."""
  if not 0 <= options.label_smoothing < 1:
    raise UserError(
      "objective.label_smoothing is a share, at least 0 and below 1; it is "
      f"{options.label_smoothing}"
    )
  return options.label_smoothing


def token_sums(output: HeadOutput, targets_BxT: jax.Array) -> Sums:
  """Sums loss and accuracy over the targets that are not PAD."""
  counts_BxT = (targets_BxT != PAD_ID).astype(jnp.float32)
  return Sums(
    loss=(output.nll * counts_BxT).sum(),
    tokens=counts_BxT.sum(),
    metrics={"accuracy": (output.is_correct * counts_BxT).sum()},
  )


def by_layer(nll_L: jax.Array, correct_L: jax.Array) -> dict[str, jax.Array]:
  """Names sums [L] of every decoder layer, counted from 1 for people."""
  metrics = {}
  for layer in range(nll_L.shape[0]):
    metrics[f"loss_layer_{layer + 1}"] = nll_L[layer]
    metrics[f"accuracy_layer_{layer + 1}"] = correct_L[layer]
  return metrics


def every_layer(model: Elmer, batch: dict) -> dict[str, jax.Array]:
  """Sums loss and accuracy at every off-ramp, all tokens running through all layers."""
  targets_BxT = batch["target_ids"]

  def read(index, hidden_BxTxD, carry):
    del index
    output = read_off_ramp(model, hidden_BxTxD, targets_BxT)
    sums = token_sums(output, targets_BxT)
    return hidden_BxTxD, carry, (sums.loss, sums.metrics["accuracy"])

  encoded_BxSxD, mask_BxS = model.encode(batch["source_ids"])
  _, _, (nll_L, correct_L) = model.decode(
    model.blank_target(*targets_BxT.shape), encoded_BxSxD, mask_BxS, after_layer=read
  )
  return by_layer(nll_L, correct_L)
