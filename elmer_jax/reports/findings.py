# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What the results of an evaluation mean: sentences for the terminal and the report."""

from collections.abc import Mapping

from elmer_jax.core.wording import count_of
from elmer_jax.metrics.names import SCORE_NAMES, SYSTEM_NAMES, main_score
from elmer_jax.reports.read_run import Run

FEW_EXAMPLES = 100
# A smaller difference to shuffled sources, as a share of the value, counts as none.
_NO_DIFFERENCE = 0.02


def problems(run: Run) -> list[str]:
  """Returns a sentence for each result that shows a failure or means nothing."""
  found = _pretraining(run) if run.purpose == "pretrain" else _fine_tuning(run)
  examples = run.results.get("examples", FEW_EXAMPLES)
  if examples < FEW_EXAMPLES:
    found.append(
      f"Only {count_of(examples, 'example')} scored: differences of a few points are "
      "chance."
    )
  return found


def uses_source(value: float, shuffled: float, is_loss: bool = False) -> bool:
  """Tells whether shuffled sources make a score lower, or a loss higher."""
  gain = shuffled - value if is_loss else value - shuffled
  return gain > _NO_DIFFERENCE * abs(value)


def _pretraining(run: Run) -> list[str]:
  loss, unigram = (run.results[k] for k in ("final_validation_loss", "unigram_loss"))
  shuffled = run.results["shuffled_source_loss"]
  found = []
  if not loss < unigram:
    found.append(
      f"The validation loss ({loss:.2f}) is not below the unigram loss "
      f"({unigram:.2f}), which needs no source: train for longer, or on more text."
    )
  if not uses_source(loss, shuffled, is_loss=True):
    found.append(
      f"With another example's source the loss is {shuffled:.2f} instead of "
      f"{loss:.2f}: the model does not use its source yet."
    )
  return found


def _fine_tuning(run: Run) -> list[str]:
  systems: Mapping[str, Mapping[str, float]] = run.results["systems"]
  main = next(iter(systems))
  metric = main_score(systems[main])
  name, score = SCORE_NAMES[metric], systems[main][metric]
  better = [
    f"{SYSTEM_NAMES[system]} ({scores[metric]:.1f})"
    for system, scores in systems.items()
    if system.startswith("baseline_") and not score > scores[metric]
  ]
  found = []
  if better:
    found.append(
      f"{name} {score:.1f} is not above these baselines without a model: "
      f"{'; '.join(better)}."
    )
  shuffled = systems.get(f"{main}_shuffled_source")
  if shuffled and not uses_source(score, shuffled[metric]):
    found.append(
      f"With another example's source {name} is {shuffled[metric]:.1f} instead of "
      f"{score:.1f}: the model does not use its source yet."
    )
  if wordless := run.results.get("references_without_words"):
    found.append(
      f"{wordless:.0%} of the references have no Latin letters or digits, the only "
      "characters that ROUGE compares: their ROUGE is 0 for any output."
    )
  return found
