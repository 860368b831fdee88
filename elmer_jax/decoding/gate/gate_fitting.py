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
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from elmer_jax.core.errors import UserError
from elmer_jax.decoding.decoding_model import DecodingParams
from elmer_jax.decoding.gate import gated_decoding
from elmer_jax.decoding.gate.gated_decoding import Gate
from elmer_jax.model.config import ModelConfig
from elmer_jax.tokenizer.special_ids import EOS_ID

_EPOCHS = 30
_LEARNING_RATE = 1e-2
_THRESHOLDS = 200
_SHORT = 0.01  # of the texts may be cut short where positions are dropped


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
  config: ModelConfig,
  params: DecodingParams,
  sources: Iterable[np.ndarray],
  length: int,
) -> Gate:
  """Fits a gate to a model.

  Args:
    config: the model's sizes.
    params: from `decoding_model.prepare`.
    sources: batches of int32 ids [B, S], whose states are kept in memory:
      4 · L · B · T · D bytes a batch.
    length: target positions T.
  """
  seen = []
  for ids_BxS in sources:
    found = gated_decoding.observe(config, params, ids_BxS, length=length)
    seen.append((found.states_LxBxTxD[:-1], labels(found.ids_LxBxT)))
  layers = config.decoder_layers - 1
  zeros = jnp.zeros((layers, config.d_model, 2))
  gate = Gate(zeros, zeros[:, 0], zeros[:, 0, 0])
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
  highest_LxN = np.concatenate([_highest(gate, *batch) for batch in seen], axis=1)
  trim_logit_L = np.quantile(highest_LxN, 1 - _SHORT, axis=1)
  return gate._replace(trim_logit_L=jnp.asarray(trim_logit_L, jnp.float32))


@jax.jit
def _highest(gate: Gate, states_LxBxTxD: jax.Array, wanted: Labels) -> jax.Array:
  """Returns [L - 1, B], the highest logit of "behind" that would cut a text short."""
  length_B = (~wanted.behind).sum(-1)
  positions_T = jnp.arange(wanted.behind.shape[1])
  needed_BxT = positions_T[None] < length_B[:, None] - gated_decoding.MARGIN
  logits_LxBxT = gated_decoding.logits(gate, states_LxBxTxD)[..., 1]
  return jnp.where(needed_BxT[None], logits_LxBxT, 0.0).max(-1)


def _error(gate: Gate, states_LxBxTxD: jax.Array, wanted: Labels) -> jax.Array:
  """Returns the mean cross-entropy of both outputs; the first counts in texts only."""
  logits_LxBxTx2 = gated_decoding.logits(gate, states_LxBxTxD)
  bce = optax.sigmoid_binary_cross_entropy
  settled_LxBxT = bce(logits_LxBxTx2[..., 0], wanted.settled.astype(jnp.float32))
  behind_LxBxT = bce(logits_LxBxTx2[..., 1], wanted.behind[None].astype(jnp.float32))
  text_BxT = ~wanted.behind
  in_text = (settled_LxBxT * text_BxT[None]).mean() / text_BxT.mean()
  return in_text + behind_LxBxT.mean()


class Outcomes(NamedTuple):
  """Held-out texts: what the gate says of them and how good each layer's text is."""

  settled_NxL: np.ndarray  # float32, behind every layer but the last
  quality_NxL: np.ndarray  # of the text of every layer, in the user's measure
  full_N: np.ndarray  # of the text of all layers and all positions


def watch(
  config: ModelConfig,
  params: DecodingParams,
  gate: Gate,
  sources: Iterable[np.ndarray],
  length: int,
  quality: Callable[[int, np.ndarray], Sequence[float]],
  trim: int = 0,
) -> Outcomes:
  """Runs held-out texts through all layers.

  Args:
    quality: rates texts [K, T] from the number of the source and their ids; the last
      one is that of all layers and positions.
    trim: as in `gated.decode`.
  """
  observe = functools.partial(gated_decoding.observe, config, params, length=length)

  def rows() -> Iterator[tuple[np.ndarray, Sequence[float]]]:
    count = itertools.count()
    for ids_BxS in sources:
      found = observe(ids_BxS, gate=gate, trim=trim)
      full = observe(ids_BxS) if trim else found
      settled_LxB = np.asarray(_settled(gate, found))
      ids_KxBxT = np.concatenate([found.ids_LxBxT, full.ids_LxBxT[-1:]])
      for row in range(len(ids_BxS)):
        yield settled_LxB[:, row], quality(next(count), ids_KxBxT[:, row])

  settled, qualities = zip(*rows(), strict=True)
  qualities_NxK = np.array(qualities)
  return Outcomes(np.array(settled), qualities_NxK[:, :-1], qualities_NxK[:, -1])


@jax.jit
def _settled(gate: Gate, observed: gated_decoding.Observed) -> jax.Array:
  return gated_decoding.score_layers(gate, observed).stable_B


class Row(NamedTuple):
  """What one way of stopping costs and keeps, over held-out texts."""

  threshold: float  # of a gate; of a static depth, NaN
  most: int  # layers that any text runs through
  layers: float  # mean that a text runs through
  loss: float  # mean against full depth, in the measure; negative: better
  bound: float  # of that mean, one-sided, at the confidence asked for


def stop(settled_NxL: np.ndarray, threshold: float, most: int) -> np.ndarray:
  """Returns [N], the 0-based layer at which each text stops, of the lowest `most`."""
  opens_NxL = settled_NxL > threshold
  opens_NxL = np.append(opens_NxL, np.ones((len(opens_NxL), 1), bool), axis=1)
  return np.minimum(opens_NxL.argmax(1), most - 1)


def static_rows(outcomes: Outcomes, confidence: float) -> list[Row]:
  """Returns a row for every static depth, from one layer to all."""
  count, layers = outcomes.quality_NxL.shape
  return [
    _row(outcomes, float("nan"), most, np.full(count, most - 1), confidence)
    for most in range(1, layers + 1)
  ]


def gate_rows(outcomes: Outcomes, confidence: float, least: int = 2) -> list[Row]:
  """Returns rows for thresholds over the whole range, of `least` layers to all."""
  layers = outcomes.quality_NxL.shape[1]
  steps = np.linspace(0, 1, _THRESHOLDS)
  quantiles = np.quantile(outcomes.settled_NxL, steps)
  thresholds = np.unique(np.append(quantiles, (0.0, 1.0)))
  return [
    _row(outcomes, float(t), most, stop(outcomes.settled_NxL, t, most), confidence)
    for t, most in itertools.product(thresholds, range(least, layers + 1))
  ]


def choose(rows: Iterable[Row], loss: float) -> Row:
  """Returns the cheapest row whose bound keeps to the stated loss.

  Where no positions are dropped, full depth always does.

  Raises:
    UserError: no row does.
  """
  keeping = [row for row in rows if row.bound <= loss]
  if not keeping:
    raise UserError(f"no threshold loses {loss:g} at most: state more, or don't trim")
  return min(keeping, key=lambda row: row.layers)


def _row(
  outcomes: Outcomes,
  threshold: float,
  most: int,
  layers_N: np.ndarray,
  confidence: float,
) -> Row:
  there_N = np.take_along_axis(outcomes.quality_NxL, layers_N[:, None], 1)[:, 0]
  lost_N = outcomes.full_N - there_N
  # The mean of many texts is normally distributed, nearly.
  error = lost_N.std(ddof=1) / len(lost_N) ** 0.5 if len(lost_N) > 1 else 0.0
  z = statistics.NormalDist().inv_cdf(confidence)
  return Row(
    threshold,
    most,
    float(layers_N.mean()) + 1,
    float(lost_N.mean()),
    float(lost_N.mean() + z * error),
  )
