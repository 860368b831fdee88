# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Confidence intervals of scores over test examples: the paired bootstrap.

Efron and Tibshirani (1993), for texts Koehn (2004): as many examples as there are, are
drawn with replacement and scored. All systems are scored on the same draws, so
intervals of differences are narrower than those of scores. With several training seeds,
the seeds are drawn as well, the same for all systems; with few seeds the variance
between seeds is underestimated.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from elmer_jax.metrics import text_metrics

LEVEL = 0.95  # of the intervals


@dataclasses.dataclass(frozen=True)
class Statistics:
  """Sufficient statistics of a family of scores, which add up over examples.

  Attributes:
    per_example: float64 [n, K].
    scores: returns each score [...] of sums of statistics [..., K].
  """

  per_example: np.ndarray
  scores: Callable[[np.ndarray], Mapping[str, np.ndarray]]


def rouge_statistics(targets: Sequence[str], outputs: Sequence[str]) -> Statistics:
  """Returns the statistics of ROUGE, a mean over examples."""
  each = text_metrics.rouge_per_example(targets, outputs)

  def scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    return {name: sums[..., i] / sums[..., -1] for i, name in enumerate(each)}

  return Statistics(np.stack([*each.values(), np.ones(len(targets))], 1), scores)


def bleu_statistics(
  targets: Sequence[str], outputs: Sequence[str], order: int
) -> Statistics:
  """Returns the statistics of BLEU-1 to BLEU-`order`: n-gram counts."""
  return Statistics(
    text_metrics.bleu_counts(targets, outputs, order), text_metrics.bleu_from_counts
  )


class Resamples:
  """Draws of examples and of seeds, the same for every system."""

  def __init__(self, examples: int, seeds: int, count: int):
    rng = np.random.default_rng(0)
    # How often each example was drawn, [count, examples].
    self._weights = np.stack(
      [
        np.bincount(rng.integers(0, examples, examples), minlength=examples)
        for _ in range(count)
      ]
    ).astype(np.float64)
    self._seeds = rng.integers(0, seeds, (count, seeds))

  def scores(self, by_seed: Sequence[Statistics]) -> dict[str, np.ndarray]:
    """Returns each score of a system on every draw, float64 [count].

    Args:
      by_seed: statistics of the same examples, for every seed.
    """
    found = [each.scores(self._weights @ each.per_example) for each in by_seed]
    draws = np.arange(len(self._weights))[:, None]
    return {
      name: np.stack([scores[name] for scores in found], 1)[draws, self._seeds].mean(1)
      for name in found[0]
    }


def interval(scores: np.ndarray) -> tuple[float, float]:
  """Returns the middle LEVEL of scores on draws, or of differences between them."""
  low, high = np.quantile(scores, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
  return float(low), float(high)


def verdict(low: float, high: float) -> str:
  """Returns whether an interval supports the claim that a difference is 0 or more."""
  if low >= 0:
    return "confirmed"
  return "refuted" if high < 0 else "undecided"
