# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""How far a score would move with other test examples: the paired bootstrap.

Efron and Tibshirani (1993), for texts Koehn (2004): examples are drawn with
replacement, as many as there are, and scored again. All systems are scored on the same
draws, so that differences between them are told more finely than the scores. Where
systems were trained with several seeds, the seeds are drawn as well, the same for all
systems; with few seeds their part of the spread is told too small.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from elmer_jax.metrics import text_metrics

LEVEL = 0.95  # of the intervals


@dataclasses.dataclass(frozen=True)
class Sums:
  """A family of scores as a function of sums over examples.

  Attributes:
    of_each: what is summed, float64 [n, K].
    scores: gives each score [...] of sums [..., K].
  """

  of_each: np.ndarray
  scores: Callable[[np.ndarray], Mapping[str, np.ndarray]]


def rouge_sums(targets: Sequence[str], outputs: Sequence[str]) -> Sums:
  """Returns the sums of ROUGE: a mean over examples."""
  each = text_metrics.rouge_of_each(targets, outputs)

  def scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    return {name: sums[..., i] / sums[..., -1] for i, name in enumerate(each)}

  return Sums(np.stack([*each.values(), np.ones(len(targets))], 1), scores)


def bleu_sums(targets: Sequence[str], outputs: Sequence[str], order: int) -> Sums:
  """Returns the sums of BLEU-1 to BLEU-`order`: n-grams over all examples."""
  return Sums(
    text_metrics.bleu_counts(targets, outputs, order), text_metrics.bleu_of_counts
  )


class Resamples:
  """Draws of examples and of seeds, the same for everything that is scored on them."""

  def __init__(self, examples: int, seeds: int, count: int):
    rng = np.random.default_rng(0)
    # How often each example was drawn.
    self._weights = np.stack(
      [
        np.bincount(rng.integers(0, examples, examples), minlength=examples)
        for _ in range(count)
      ]
    ).astype(np.float64)
    self._seeds = rng.integers(0, seeds, (count, seeds))

  def scores(self, by_seed: Sequence[Sums]) -> dict[str, np.ndarray]:
    """Returns each score of a system on every draw, float64 [count].

    Args:
      by_seed: of the same examples, for every seed.
    """
    found = [sums.scores(self._weights @ sums.of_each) for sums in by_seed]
    draws = np.arange(len(self._weights))[:, None]
    return {
      name: np.stack([scores[name] for scores in found], 1)[draws, self._seeds].mean(1)
      for name in found[0]
    }


def observed(by_seed: Sequence[Sums]) -> dict[str, list[float]]:
  """Returns each score of a system on the examples as they are, for every seed."""
  found = [sums.scores(sums.of_each.sum(0)) for sums in by_seed]
  return {name: [float(scores[name]) for scores in found] for name in found[0]}


def interval(scores: np.ndarray) -> tuple[float, float]:
  """Returns the middle LEVEL of scores on draws, or of differences between them."""
  low, high = np.quantile(scores, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
  return float(low), float(high)


def verdict(low: float, high: float) -> str:
  """Returns what an interval says of the claim that a difference is 0 or more."""
  if low >= 0:
    return "confirmed"
  return "refuted" if high < 0 else "undecided"
