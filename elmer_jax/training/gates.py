# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A gate for a finished model: fitted to it, and its threshold chosen.

Fitting is a logistic regression behind every layer, on what the model does with
training sources; their targets are not looked at. Choosing the threshold follows CALM
(Schuster et al., 2022, arXiv 2207.07061): the user states what the texts may lose
against full depth, and gets the cheapest threshold that keeps to it on held-out texts,
with the confidence asked for.
"""

import functools
import itertools
import statistics
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from elmer_jax.decoding import gated
from elmer_jax.decoding.gated import Gate
from elmer_jax.model.config import ModelConfig
from elmer_jax.special_ids import EOS_ID

_EPOCHS = 30
_LEARNING_RATE = 1e-2
_THRESHOLDS = 200


class Labels(NamedTuple):
  """What the gate should have said; [L - 1, B, T], the second [B, T]."""

  settled: jax.Array  # bool: the arg-max here is the last layer's
  behind: jax.Array  # bool: the position lies behind the last layer's EOS


def labels(ids_LxBxT: jax.Array) -> Labels:
  """Returns the labels that every layer's arg-max gives."""
  ended_BxT = jnp.cumsum(ids_LxBxT[-1] == EOS_ID, axis=-1)
  behind_BxT = (ended_BxT - (ids_LxBxT[-1] == EOS_ID)) > 0
  return Labels(ids_LxBxT[:-1] == ids_LxBxT[-1:], behind_BxT)


def fit(
  config: ModelConfig, params: dict, sources: Iterable[np.ndarray], length: int
) -> Gate:
  """Fits a gate to a model.

  Args:
    config: the model's sizes.
    params: its parameters, which stay as they are.
    sources: batches of int32 ids [B, S], whose states are kept in memory:
      4 · L · B · T · D bytes a batch.
    length: target positions T.
  """
  seen = []
  for ids_BxS in sources:
    states_LxBxTxD, ids_LxBxT = gated.observe(config, params, ids_BxS, length=length)
    seen.append((states_LxBxTxD[:-1], labels(ids_LxBxT)))
  layers = config.decoder_layers - 1
  gate = Gate(jnp.zeros((layers, config.d_model, 2)), jnp.zeros((layers, 2)))
  schedule = optax.cosine_decay_schedule(_LEARNING_RATE, _EPOCHS * len(seen))
  optimizer = optax.adam(schedule)

  @jax.jit
  def step(gate, state, states_LxBxTxD, wanted):
    gradients = jax.grad(_error)(gate, states_LxBxTxD, wanted)
    updates, state = optimizer.update(gradients, state)
    return optax.apply_updates(gate, updates), state

  state = optimizer.init(gate)
  for _, batch in itertools.product(range(_EPOCHS), seen):
    gate, state = step(gate, state, *batch)
  return gate


def _error(gate: Gate, states_LxBxTxD: jax.Array, wanted: Labels) -> jax.Array:
  """Returns the mean cross-entropy of both outputs; the first counts in texts only."""
  logits_LxBxTx2 = jnp.einsum("lbtd,ldk->lbtk", states_LxBxTxD, gate.weights_LxDx2)
  logits_LxBxTx2 += gate.bias_Lx2[:, None, None]
  bce = optax.sigmoid_binary_cross_entropy
  settled_LxBxT = bce(logits_LxBxTx2[..., 0], wanted.settled.astype(jnp.float32))
  behind_LxBxT = bce(logits_LxBxTx2[..., 1], wanted.behind[None].astype(jnp.float32))
  text_BxT = ~wanted.behind
  in_text = (settled_LxBxT * text_BxT[None]).mean() / text_BxT.mean()
  return in_text + behind_LxBxT.mean()


class Observed(NamedTuple):
  """Held-out texts: what the gate says of them and how good each layer's text is."""

  settled_NxL: np.ndarray  # float32, behind every layer but the last
  quality_NxL: np.ndarray  # float32, of the text of every layer, in the user's measure


def watch(
  config: ModelConfig,
  params: dict,
  gate: Gate,
  sources: Iterable[np.ndarray],
  length: int,
  quality: Callable[[int, np.ndarray], float],
) -> Observed:
  """Runs held-out texts through all layers.

  Args:
    quality: of text n, all ids [T] of one layer.
  """

  def rows() -> Iterator[tuple[np.ndarray, list[float]]]:
    count = itertools.count()
    for ids_BxS in sources:
      states, ids_LxBxT = gated.observe(config, params, ids_BxS, length=length)
      settled_LxB = np.asarray(_settled(gate, states))
      for row in range(len(ids_BxS)):
        number = next(count)
        texts = np.asarray(ids_LxBxT[:, row])
        yield settled_LxB[:, row], [quality(number, ids_T) for ids_T in texts]

  settled, qualities = zip(*rows(), strict=True)
  return Observed(np.array(settled), np.array(qualities, np.float32))


@functools.partial(jax.jit)
def _settled(gate: Gate, states_LxBxTxD: jax.Array) -> jax.Array:
  return gated.verdicts(gate, states_LxBxTxD).settled_B


class Row(NamedTuple):
  """What one way of stopping costs and keeps, over held-out texts."""

  threshold: float  # of a gate; of a static depth, NaN
  layers: float  # mean that a text runs through
  loss: float  # mean against full depth, in the measure; negative: better
  bound: float  # of that mean, one-sided, at the confidence asked for


def stop(settled_NxL: np.ndarray, threshold: float) -> np.ndarray:
  """Returns [N], the 0-based layer at which each text stops."""
  opens_NxL = settled_NxL > threshold
  last = opens_NxL.shape[1]
  return np.where(opens_NxL.any(1), opens_NxL.argmax(1), last)


def static_rows(observed: Observed, confidence: float) -> list[Row]:
  """Returns a row for every static depth, from one layer to all."""
  count, layers = observed.quality_NxL.shape
  return [
    _row(observed, float("nan"), np.full(count, layer), confidence)
    for layer in range(layers)
  ]


def gate_rows(observed: Observed, confidence: float) -> list[Row]:
  """Returns rows for thresholds over the whole range, the cheapest first."""
  steps = np.linspace(0, 1, _THRESHOLDS)
  thresholds = np.unique(np.append(np.quantile(observed.settled_NxL, steps), (0.0, 1.0)))
  return [
    _row(observed, float(t), stop(observed.settled_NxL, t), confidence)
    for t in thresholds
  ]


def choose(rows: Iterable[Row], loss: float) -> Row:
  """Returns the cheapest row whose bound keeps to the stated loss.

  Full depth always does: its loss is 0, without a doubt.
  """
  return min((row for row in rows if row.bound <= loss), key=lambda row: row.layers)


def _row(
  observed: Observed, threshold: float, layers_N: np.ndarray, confidence: float
) -> Row:
  quality_NxL = observed.quality_NxL.astype(np.float64)
  there_N = np.take_along_axis(quality_NxL, layers_N[:, None], 1)[:, 0]
  lost_N = quality_NxL[:, -1] - there_N
  # The mean of many texts is normally distributed, nearly.
  error = lost_N.std(ddof=1) / len(lost_N) ** 0.5 if len(lost_N) > 1 else 0.0
  z = statistics.NormalDist().inv_cdf(confidence)
  return Row(
    threshold,
    float(layers_N.mean()) + 1,
    float(lost_N.mean()),
    float(lost_N.mean() + z * error),
  )
