# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of objectives: from a model and a batch to sums over target tokens.

Sums, not means: those of micro-batches and processes can be added, whatever their
padding.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import ml_collections

from elmer_jax.core.errors import UserError
from elmer_jax.model import layers
from elmer_jax.model.elmer import Elmer
from elmer_jax.objectives.linear_cross_entropy import HeadOutput, linear_cross_entropy
from elmer_jax.tokenizer.special_ids import PAD_ID

# Streams of random numbers. A row's key is a function of (seed, step, global row); each
# use folds in one of these, so that no two uses share their draws.
DROPOUT, EXIT_LAYERS, GOLD_MIXING, GLANCING, DROPPED, MASKED = 0, 1, 2, 3, 4, 5


class Sums(NamedTuple):
  """Sums over a batch's counted target tokens (not PAD; EOS counts)."""

  loss: jax.Array  # [] float32, nats; training minimises loss / tokens
  tokens: jax.Array  # [] float32
  metrics: dict[str, jax.Array]  # name → [] float32, also to be divided by tokens


class Loss(Protocol):
  """What training minimises."""

  def __call__(
    self,
    model: Elmer,
    batch: dict[str, jax.Array],
    keys_B: jax.Array,
    step: jax.Array | int,
    train: bool,
  ) -> Sums:
    """Sums the loss over a batch.

    Args:
      model: the model.
      batch: `source_ids` [B, S] and `target_ids` [B, T], int32.
      keys_B: one random key per row.
      step: [] int32, completed steps, for what changes during training.
      train: whether dropout, label smoothing, glancing and the like are applied.
    """


class Objective(NamedTuple):
  """An objective.

  Attributes:
    loss: what training minimises.
    evaluate: (model, batch, keys_B) → sums of the loss with `train=False`; for
      objectives with one loss for the whole target also each layer's loss and accuracy.
  """

  loss: Loss
  evaluate: Callable[[Elmer, dict[str, jax.Array], jax.Array], Sums]


def with_layer_metrics(loss: Loss) -> Objective:
  """Returns the objective that evaluates every decoder layer beside `loss`."""

  def evaluate(model: Elmer, batch: dict, keys_B: jax.Array) -> Sums:
    sums = loss(model, batch, keys_B, step=0, train=False)
    return sums._replace(metrics=sums.metrics | all_layers(model, batch))

  return Objective(loss, evaluate)


def without_layer_metrics(loss: Loss) -> Objective:
  """Returns the objective that evaluates `loss` alone."""

  def evaluate(model: Elmer, batch: dict, keys_B: jax.Array) -> Sums:
    return loss(model, batch, keys_B, step=0, train=False)

  return Objective(loss, evaluate)


class Encoded(NamedTuple):
  """The encoded sources of a batch."""

  states_BxSxD: jax.Array
  mask_BxS: jax.Array  # bool, the source positions that are not PAD
  keys_B: jax.Array | None  # the decoder's keys for dropout; None: no dropout


def encode(model: Elmer, batch: dict, keys_B: jax.Array, train: bool) -> Encoded:
  """Encodes the sources of a batch, with dropout if `train`."""
  dropout_keys_B = layers.fold_in(keys_B, DROPOUT) if train else None
  states_BxSxD, mask_BxS = model.encode(batch["source_ids"], dropout_keys_B)
  return Encoded(states_BxSxD, mask_BxS, dropout_keys_B)


def read_off_ramp(
  model: Elmer,
  hidden_BxTxD: jax.Array,
  targets_BxT: jax.Array,
  choose_with_bias: bool | jax.Array = True,
  smoothing: float = 0.0,
) -> HeadOutput:
  """Applies the shared head at the off-ramp after a layer."""
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
  """Applies the shared head to states that are already normalised."""
  return linear_cross_entropy(
    states_BxTxD,
    model.head(choose_with_bias),
    targets_BxT,
    model.config.head_chunk,
    smoothing,
  )


def label_smoothing(options: ml_collections.ConfigDict) -> float:
  """Returns `config.objective.label_smoothing`.

  Raises:
    UserError: it is not in [0, 1).
  """
  if not 0 <= options.label_smoothing < 1:
    raise UserError(
      "objective.label_smoothing must be at least 0 and below 1; it is "
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


def layer_metrics(nll_L: jax.Array, correct_L: jax.Array) -> dict[str, jax.Array]:
  """Returns each decoder layer's sums by name; names count layers from 1."""
  metrics = {}
  for layer in range(nll_L.shape[0]):
    metrics[f"loss_layer_{layer + 1}"] = nll_L[layer]
    metrics[f"accuracy_layer_{layer + 1}"] = correct_L[layer]
  return metrics


def all_layers(model: Elmer, batch: dict) -> dict[str, jax.Array]:
  """Sums loss and accuracy at every off-ramp when no token exits early."""
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
  return layer_metrics(nll_L, correct_L)
