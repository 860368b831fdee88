# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The bootstrap: scores, the width of intervals, verdicts."""

import numpy as np
import pytest

from elmer_jax.comparison import bootstrap
from elmer_jax.comparison.bootstrap import Resamples, Statistics
from elmer_jax.metrics import text_metrics

TARGETS = ["the cat sat on the mat", "a dog ran", "it is late now", "read the file"]
OUTPUTS = ["the cat is on a mat", "a dog ran away", "", "read a file"]


def means(values: np.ndarray) -> Statistics:
  """Returns statistics whose only score is the mean."""
  stacked = np.stack([values, np.ones(len(values))], 1)
  return Statistics(stacked, lambda sums: {"mean": sums[..., 0] / sums[..., 1]})


def draws(values: np.ndarray, count: int = 1000) -> np.ndarray:
  return Resamples(len(values), 1, count).scores([means(values)])["mean"]


def test_statistics_of_all_examples_give_the_scores_of_the_metrics():
  found = {}
  for statistics in (
    bootstrap.rouge_statistics(TARGETS, OUTPUTS),
    bootstrap.bleu_statistics(TARGETS, OUTPUTS, 4),
  ):
    found |= statistics.scores(statistics.per_example.sum(0))
  wanted = text_metrics.rouge(TARGETS, OUTPUTS) | text_metrics.bleu(TARGETS, OUTPUTS)
  assert found == pytest.approx(wanted)
  assert found["bleu2"] > 0


def test_a_draw_has_the_scores_of_the_drawn_texts():
  """An example drawn four times has the BLEU of four copies."""
  statistics = bootstrap.bleu_statistics(TARGETS, OUTPUTS, 2)
  weights = np.array([0, 4, 0, 0])
  found = statistics.scores(weights @ statistics.per_example)
  wanted = text_metrics.bleu(TARGETS[1:2] * 4, OUTPUTS[1:2] * 4, order=2)
  assert found == pytest.approx(wanted)


def test_intervals_contain_the_score_and_shrink_with_more_examples():
  rng = np.random.default_rng(1)
  widths = {}
  for count in (100, 400, 1600):
    values = rng.normal(20, 5, count)
    low, high = bootstrap.interval(draws(values))
    assert low < values.mean() < high
    widths[count] = high - low
    # Twice 1.96 standard errors.
    assert widths[count] == pytest.approx(3.92 * values.std() / count**0.5, rel=0.1)
  assert 1.7 < widths[100] / widths[400] < 2.3
  assert 1.7 < widths[400] / widths[1600] < 2.3


def test_intervals_contain_the_true_value_at_their_level():
  rng = np.random.default_rng(2)
  ends = [bootstrap.interval(draws(rng.normal(0, 1, 60), 300)) for _ in range(300)]
  assert 0.91 < np.mean([low < 0 < high for low, high in ends]) < 0.98


def test_differences_are_paired():
  """Systems that differ by one point in each example differ by it in every draw."""
  values = np.random.default_rng(3).normal(20, 8, 50)
  low, high = bootstrap.interval(draws(values + 1) - draws(values))
  assert (low, high) == pytest.approx((1, 1))


def test_seeds_that_disagree_widen_the_interval():
  rng = np.random.default_rng(4)
  values = rng.normal(20, 1, 400)

  def width(by_seed: list[np.ndarray]) -> float:
    resamples = Resamples(400, len(by_seed), 1000)
    found = resamples.scores([means(seed) for seed in by_seed])["mean"]
    low, high = bootstrap.interval(found)
    assert low < np.mean(by_seed) < high
    return high - low

  assert width([values - 2, values, values + 2]) > 5 * width([values] * 3)


@pytest.mark.parametrize(
  ("low", "high", "verdict"),
  [
    (0.1, 0.9, "confirmed"),
    (0.0, 0.0, "confirmed"),
    (-0.1, 0.9, "undecided"),
    (-0.9, 0.0, "undecided"),
    (-0.9, -0.1, "refuted"),
  ],
)
def test_verdicts(low, high, verdict):
  assert bootstrap.verdict(low, high) == verdict
