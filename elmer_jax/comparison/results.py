# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a comparison's table, from the evaluations of its runs.

    {"examples": 880, "metrics": ["rouge1", ...], "main": "rougeL",
     "rows": {"soft_pretrained": {
       "label": ..., "start": "pretrained", "steps": 700, "seeds": [0],
       "scores": {"rougeL": {"value": 18.5, "interval": [17.9, 19.1],
                             "by_seed": [18.5]}, ...},
       "repeats_kept": {...}, "shuffled_source": {...},  # the same scores
       "distinct_outputs": 0.7, "removed_repeats": 0.6, "mean_exit_layer": 1.9,
       "seconds": {"text_1": 0.002, "text_32": ..., "ids_1": ..., "ids_32": ...},
       "speed": {"greedy": 8.1, "beam4": 20.5},  # texts per second, over theirs
       "of_autoregressive": {"rougeL": {"value": 0.9, "interval": [...]}, ...}}, ...},
     "baselines": {"baseline_lead": {"rougeL": 17.0, ...}, ...},
     "claims": [{"claim": ..., "metric": "rougeL", "difference": 0.4,
                 "interval": [0.1, 0.7], "verdict": "confirmed"}, ...],
     "differences": [{"row": ..., "baseline": ..., "metric": ...,
                      "difference": ..., "interval": ..., "verdict": ...}, ...]}

Scores are 0 to 100 and, with several seeds, means over them; intervals hold 95 % of
the bootstrap's draws. METEOR, which has no statistics per example, has no interval.
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from elmer_jax.comparison import bootstrap, variants
from elmer_jax.comparison.bootstrap import Resamples, Statistics
from elmer_jax.comparison.variants import Variant
from elmer_jax.metrics import text_metrics
from elmer_jax.metrics.names import SCORE_NAMES, main_score

# The scores that differences are computed of, where the task has them.
_COMPARED = ("rouge1", "rouge2", "rougeL", "bleu2", "bleu4")


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """The evaluation of one variant with one seed.

  Attributes:
    found: the content of evaluation/SPLIT.json.
    predictions: of predictions.jsonl, an object per example.
  """

  found: Mapping
  predictions: Sequence[Mapping[str, str]]

  def with_oracle(self) -> "Evaluation":
    """Returns the evaluation of the outputs that had their references' lengths."""
    systems = self.found["systems"]
    main = next(iter(systems))
    scores = systems[f"{main}_oracle_length"]
    baselines = {n: s for n, s in systems.items() if n.startswith("baseline_")}
    found = {
      **self.found,
      "systems": {main: scores, **baselines},
      "distinct_outputs": scores.get("distinct_outputs"),
      "removed_repeats": None,
      "samples": [],
    }
    lines = [
      {**line, "output": line["output_with_oracle_length"]} for line in self.predictions
    ]
    return Evaluation(found, lines)


def collect(
  evaluations: Mapping[Variant, Mapping[int, Evaluation]],
  seconds: Mapping[str, Mapping[str, float]],
  resamples: int,
) -> dict:
  """Returns the figures, as the top of the file shows them.

  Args:
    evaluations: by variant and seed; every variant has the same seeds.
    seconds: by variant name, of `evaluation.latency.measure`.
    resamples: of the bootstrap.
  """
  by_seed = next(iter(evaluations.values()))
  first = next(iter(by_seed.values()))
  resampled = Resamples(len(first.predictions), len(by_seed), resamples)
  draws = {
    variant.name: _draws(resampled, list(found.values()))
    for variant, found in evaluations.items()
  }
  scores = _own_scores(first.found)
  table = {
    variant.name: _row(variant, found, draws[variant.name])
    for variant, found in evaluations.items()
  }
  for name, entry in table.items():
    entry["seconds"] = dict(seconds.get(name, {}))
    entry["speed"] = _speed(seconds, name)
    entry["of_autoregressive"] = _share(table, draws, name)
  return {
    "examples": len(first.predictions),
    "metrics": [name for name in SCORE_NAMES if name in scores],
    "main": main_score(scores),
    "rows": table,
    "baselines": {
      name: dict(values)
      for name, values in first.found["systems"].items()
      if name.startswith("baseline_")
    },
    "claims": [
      {"claim": claim.text, **difference}
      for claim in variants.CLAIMS
      for difference in _differences(table, draws, claim.better, claim.worse)
    ],
    "differences": [
      {
        "row": variant.label,
        "baseline": variants.VARIANTS[variant.baseline].label,
        **difference,
      }
      for variant in evaluations
      if variant.baseline
      for difference in _differences(table, draws, variant.name, variant.baseline)
    ],
  }


def _own_scores(found: Mapping) -> Mapping[str, float]:
  """Returns the scores of the model itself."""
  return next(iter(found["systems"].values()))


def _draws(
  resampled: Resamples, by_seed: Sequence[Evaluation]
) -> dict[str, np.ndarray]:
  """Returns each score of a variant on every draw."""
  families = zip(*map(_statistics, by_seed), strict=True)
  return {
    metric: values
    for family in families
    for metric, values in resampled.scores(family).items()
  }


def _statistics(evaluation: Evaluation) -> list[Statistics]:
  """Returns the statistics of each family of scores that the task has."""
  lines = evaluation.predictions
  outputs = [text_metrics.one_line(line["output"]) for line in lines]
  targets = [
    list(map(text_metrics.one_line, line.get("references", [line["reference"]])))
    for line in lines
  ]
  scores = _own_scores(evaluation.found)
  families = []
  if "rouge1" in scores:
    families.append(bootstrap.rouge_statistics(targets, outputs))
  if order := max((n for n in (2, 4) if f"bleu{n}" in scores), default=0):
    families.append(bootstrap.bleu_statistics(targets, outputs, order))
  return families


def _row(
  variant: Variant, by_seed: Mapping[int, Evaluation], draws: Mapping[str, np.ndarray]
) -> dict:
  results = [evaluation.found for evaluation in by_seed.values()]

  def mean(name: str) -> float | None:
    values = [result.get(name) for result in results]
    return None if None in values else statistics.fmean(values)

  def system(ending: str) -> dict[str, float]:
    main = next(iter(results[0]["systems"]))
    entries = [result["systems"].get(f"{main}{ending}") for result in results]
    if None in entries:
      return {}
    return {name: statistics.fmean(e[name] for e in entries) for name in entries[0]}

  scores = {}
  for name, value in system("").items():
    if name not in SCORE_NAMES:
      continue
    scores[name] = {"value": value, "by_seed": [_own_scores(r)[name] for r in results]}
    if name in draws:
      scores[name]["interval"] = bootstrap.interval(draws[name])
  return {
    "label": variant.label,
    "start": variant.start,
    "steps": results[0]["checkpoint_step"],
    "parameters": results[0]["parameters"],
    "seeds": list(by_seed),
    "scores": scores,
    "repeats_kept": system("_repeats_kept"),
    "shuffled_source": system("_shuffled_source"),
    "distinct_outputs": mean("distinct_outputs"),
    "removed_repeats": mean("removed_repeats"),
    "mean_exit_layer": mean("mean_exit_layer"),
  }


def _speed(seconds: Mapping[str, Mapping[str, float]], name: str) -> dict[str, float]:
  """Returns the speed-up over the autoregressive references, one text at a time."""
  references = {"greedy": variants.GREEDY, "beam4": variants.BEAM}
  if name not in seconds:
    return {}
  return {
    key: seconds[reference]["text_1"] / seconds[name]["text_1"]
    for key, reference in references.items()
    if reference in seconds
  }


def _share(table: Mapping, draws: Mapping, name: str) -> dict:
  """Returns a variant's scores as shares of the greedy autoregressive model's."""
  reference = variants.GREEDY.replace("pretrained", table[name]["start"])
  if reference not in table or name == reference:
    return {}
  shares = {}
  for metric in _compared(draws[name]):
    ours, theirs = (table[n]["scores"][metric]["value"] for n in (name, reference))
    if np.all(draws[reference][metric] > 0):
      ends = bootstrap.interval(draws[name][metric] / draws[reference][metric])
      shares[metric] = {"value": ours / theirs, "interval": ends}
  return shares


def _differences(table: Mapping, draws: Mapping, better: str, worse: str) -> list[dict]:
  """Returns `better` − `worse` with its interval, a dict per score."""
  if better not in table or worse not in table:
    return []
  found = []
  for metric in _compared(draws[better]):
    ours, theirs = (table[n]["scores"][metric]["value"] for n in (better, worse))
    ends = bootstrap.interval(draws[better][metric] - draws[worse][metric])
    found.append(
      {
        "metric": metric,
        "difference": ours - theirs,
        "interval": ends,
        "verdict": bootstrap.verdict(*ends),
      }
    )
  return found


def _compared(draws: Mapping[str, np.ndarray]) -> list[str]:
  names = [name for name in _COMPARED if name in draws]
  # BLEU-4 includes what BLEU-2 measures.
  return [name for name in names if not (name == "bleu2" and "bleu4" in draws)]
