# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Chooses the threshold of a gate on held-out texts.

The user states the quality that texts may lose against full depth; the cheapest
threshold whose loss stays below it, with the requested confidence, is chosen. Source:
CALM, Schuster et al., 2022 (arXiv 2207.07061).
"""

import functools
import itertools
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from elmer_jax.core.errors import UserError
from elmer_jax.decoding.decoding_model import DecodingParams
from elmer_jax.decoding.gate import gated_decoding
from elmer_jax.decoding.gate.exit_quality import Quality
from elmer_jax.decoding.gate.gated_decoding import Gate
from elmer_jax.model.config import ModelConfig

_THRESHOLDS = 200


class Outcomes(NamedTuple):
  """Gate outputs and qualities of N held-out texts."""

  stable_NxL: np.ndarray  # float32 [N, L - 1], expected share of final tokens
  quality_NxL: np.ndarray  # of the text of every layer
  full_N: np.ndarray  # of the text of all layers and all positions


def collect_outcomes(
  config: ModelConfig,
  params: DecodingParams,
  gate: Gate,
  sources: Iterable[np.ndarray],
  length: int,
  quality: Quality,
  trim: int = 0,
) -> Outcomes:
  """Runs held-out texts through all layers.

  Args:
    config: the model's sizes.
    params: from `decoding_model.prepare`.
    gate: of this model.
    sources: batches of int32 ids [B, S].
    length: target positions T.
    quality: rates the texts [K, T] of a source, the last one that of all layers and
      positions.
    trim: as in `gated_decoding.decode`.
  """
  observe = functools.partial(gated_decoding.observe, config, params, length=length)

  def rows() -> Iterator[tuple[np.ndarray, Sequence[float]]]:
    count = itertools.count()
    for ids_BxS in sources:
      found = observe(ids_BxS, gate=gate, trim=trim)
      full = observe(ids_BxS) if trim else found
      stable_LxB = np.asarray(_stable(gate, found))
      ids_KxBxT = np.concatenate([found.ids_LxBxT, full.ids_LxBxT[-1:]])
      for row in range(len(ids_BxS)):
        yield stable_LxB[:, row], quality(next(count), ids_KxBxT[:, row])

  stable, qualities = zip(*rows(), strict=True)
  qualities_NxK = np.array(qualities)
  return Outcomes(np.array(stable), qualities_NxK[:, :-1], qualities_NxK[:, -1])


@jax.jit
def _stable(gate: Gate, observed: gated_decoding.Observed) -> jax.Array:
  return gated_decoding.score_layers(gate, observed).stable_B


class Candidate(NamedTuple):
  """Cost and loss of one setting over the held-out texts."""

  threshold: float  # NaN for a static depth
  max_layers: int  # layers that no text goes beyond
  mean_layers: float
  loss: float  # mean quality lost against full depth; negative: gained
  bound: float  # one-sided upper bound of that mean at the requested confidence


def stop_layers(
  stable_NxL: np.ndarray, threshold: float, max_layers: int
) -> np.ndarray:
  """Returns [N], the 0-based layer at which each text stops, below `max_layers`."""
  stops_NxL = stable_NxL > threshold
  stops_NxL = np.append(stops_NxL, np.ones((len(stops_NxL), 1), bool), axis=1)
  return np.minimum(stops_NxL.argmax(1), max_layers - 1)


def static_depths(outcomes: Outcomes, confidence: float) -> list[Candidate]:
  """Returns a candidate for every static depth, from one layer to all."""
  count, layers = outcomes.quality_NxL.shape
  return [
    _candidate(outcomes, float("nan"), most, np.full(count, most - 1), confidence)
    for most in range(1, layers + 1)
  ]


def gate_thresholds(
  outcomes: Outcomes, confidence: float, min_layers: int = 2
) -> list[Candidate]:
  """Returns candidates for thresholds over the whole range and every `max_layers`."""
  layers = outcomes.quality_NxL.shape[1]
  quantiles = np.quantile(outcomes.stable_NxL, np.linspace(0, 1, _THRESHOLDS))
  thresholds = np.unique(np.append(quantiles, (0.0, 1.0)))
  return [
    _candidate(
      outcomes,
      float(threshold),
      most,
      stop_layers(outcomes.stable_NxL, threshold, most),
      confidence,
    )
    for threshold, most in itertools.product(thresholds, range(min_layers, layers + 1))
  ]


def cheapest(candidates: Iterable[Candidate], loss: float) -> Candidate:
  """Returns the candidate with the fewest layers whose bound is at most `loss`.

  Raises:
    UserError: there is none.
  """
  allowed = [candidate for candidate in candidates if candidate.bound <= loss]
  if not allowed:
    raise UserError(
      f"no threshold loses at most {loss:g}: raise --loss, or set --trim=0"
    )
  return min(allowed, key=lambda candidate: candidate.mean_layers)


def _candidate(
  outcomes: Outcomes,
  threshold: float,
  max_layers: int,
  layers_N: np.ndarray,
  confidence: float,
) -> Candidate:
  quality_N = np.take_along_axis(outcomes.quality_NxL, layers_N[:, None], 1)[:, 0]
  lost_N = outcomes.full_N - quality_N
  # By the central limit theorem the mean of many texts is nearly normal.
  error = lost_N.std(ddof=1) / len(lost_N) ** 0.5 if len(lost_N) > 1 else 0.0
  z = statistics.NormalDist().inv_cdf(confidence)
  return Candidate(
    threshold,
    max_layers,
    float(layers_N.mean()) + 1,
    float(lost_N.mean()),
    float(lost_N.mean() + z * error),
  )
