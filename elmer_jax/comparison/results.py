# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""From what the runs of a comparison left to the figures of its table.

    {"examples": 880, "metrics": ["rouge1", ...], "main": "rougeL",
     "rows": {"soft_pretrained": {
       "label": ..., "start": "pretrained", "steps": 700, "seeds": [0],
       "scores": {"rougeL": {"value": 18.5, "interval": [17.9, 19.1],
                             "by_seed": [18.5]}, ...},
       "repeats_kept": {...}, "shuffled_source": {...},  # the same scores
       "distinct_outputs": 0.7, "removed_repeats": 0.6, "mean_exit_layer": 1.9,
       "seconds": {"text_1": 0.002, "text_32": ..., "ids_1": ..., "ids_32": ...},
       "speed": {"greedy": 8.1, "beam4": 20.5},  # texts a second, times theirs
       "of_autoregressive": {"rougeL": {"value": 0.9, "interval": [...]}, ...}}, ...},
     "baselines": {"baseline_lead": {"rougeL": 17.0, ...}, ...},
     "claims": [{"claim": ..., "metric": "rougeL", "difference": 0.4,
                 "interval": [0.1, 0.7], "verdict": "confirmed"}, ...],
     "differences": [{"row": ..., "beside": ..., "metric": ..., "difference": ...,
                      "interval": ..., "verdict": ...}, ...]}

Scores are 0 to 100 and, with several seeds, means over them; intervals hold 95 % of
the bootstrap's draws. What the bootstrap can't be made of (METEOR) has no interval.
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from elmer_jax.comparison import bootstrap, variants
from elmer_jax.comparison.bootstrap import Resamples, Sums
from elmer_jax.comparison.variants import Row
from elmer_jax.metrics import text_metrics
from elmer_jax.metrics.names import SCORES

# What differences are told of, as far as the task has them.
_TOLD = ("rouge1", "rouge2", "rougeL", "bleu2", "bleu4")


@dataclasses.dataclass(frozen=True)
class Measured:
  """What the evaluation of one row found, with one seed.

  Attributes:
    found: the content of evaluation/SPLIT.json.
    predictions: of predictions.jsonl, an object an example.
  """

  found: Mapping
  predictions: Sequence[Mapping[str, str]]

  def with_oracle(self) -> "Measured":
    """Returns the same of the texts that were given their references' lengths."""
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
    return Measured(found, lines)


def collect(
  measured: Mapping[Row, Mapping[int, Measured]],
  seconds: Mapping[str, Mapping[str, float]],
  resamples: int,
) -> dict:
  """Returns the figures, as the top of the file shows them.

  Args:
    measured: by row and seed; every row has the same seeds.
    seconds: by row, what `evaluation.latency.measure` found.
    resamples: of the bootstrap.
  """
  first = next(iter(next(iter(measured.values())).values()))
  seeds = len(next(iter(measured.values())))
  draws = Resamples(len(first.predictions), seeds, resamples)
  sums = {
    row.name: [_sums(m) for m in found.values()] for row, found in measured.items()
  }
  scored = {
    name: {
      metric: values
      for family in zip(*by_seed, strict=True)
      for metric, values in draws.scores(family).items()
    }
    for name, by_seed in sums.items()
  }
  scores = _main(first.found)
  names = [name for name in SCORES if name in scores]
  table = {
    row.name: _row(row, found, scored[row.name]) for row, found in measured.items()
  }
  for name, entry in table.items():
    entry["seconds"] = dict(seconds.get(name, {}))
    entry["speed"] = _speed(seconds, name)
    entry["of_autoregressive"] = _share(table, scored, name)
  return {
    "examples": len(first.predictions),
    "metrics": names,
    "main": names[0],
    "rows": table,
    "baselines": {
      name: dict(values)
      for name, values in first.found["systems"].items()
      if name.startswith("baseline_")
    },
    "claims": [
      {"claim": claim.text, **told}
      for claim in variants.CLAIMS
      for told in _difference(table, scored, claim.better, claim.worse)
    ],
    "differences": [
      {"row": row.label, "beside": variants.ROWS[row.beside].label, **told}
      for row in measured
      if row.beside
      for told in _difference(table, scored, row.name, row.beside)
    ],
  }


def _main(found: Mapping) -> Mapping[str, float]:
  """Returns the scores of the model itself."""
  return next(iter(found["systems"].values()))


def _sums(measured: Measured) -> list[Sums]:
  """Returns the sums of each family of scores that the task has."""
  targets, outputs = (
    [text_metrics.one_line(line[side]) for line in measured.predictions]
    for side in ("reference", "output")
  )
  has = _main(measured.found).keys()
  families = []
  if "rouge1" in has:
    families.append(bootstrap.rouge_sums(targets, outputs))
  if order := max((n for n in (2, 4) if f"bleu{n}" in has), default=0):
    families.append(bootstrap.bleu_sums(targets, outputs, order))
  return families


def _row(
  row: Row, found: Mapping[int, Measured], scored: Mapping[str, np.ndarray]
) -> dict:
  results = [measured.found for measured in found.values()]

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
    if name not in SCORES:
      continue
    scores[name] = {"value": value, "by_seed": [_main(r)[name] for r in results]}
    if name in scored:
      scores[name]["interval"] = bootstrap.interval(scored[name])
  return {
    "label": row.label,
    "start": row.start,
    "steps": results[0]["checkpoint_step"],
    "parameters": results[0]["parameters"],
    "seeds": list(found),
    "scores": scores,
    "repeats_kept": system("_repeats_kept"),
    "shuffled_source": system("_shuffled_source"),
    "distinct_outputs": mean("distinct_outputs"),
    "removed_repeats": mean("removed_repeats"),
    "mean_exit_layer": mean("mean_exit_layer"),
  }


def _speed(seconds: Mapping[str, Mapping[str, float]], name: str) -> dict[str, float]:
  """Returns how many times as fast as by the references a text is written, alone."""
  references = {"greedy": variants.GREEDY, "beam4": variants.BEAM}
  if name not in seconds:
    return {}
  return {
    key: seconds[reference]["text_1"] / seconds[name]["text_1"]
    for key, reference in references.items()
    if reference in seconds
  }


def _share(table: Mapping, scored: Mapping, name: str) -> dict:
  """Returns a row's scores as shares of the greedy autoregressive model's."""
  reference = variants.GREEDY.replace("pretrained", table[name]["start"])
  if reference not in table or name == reference:
    return {}
  shares = {}
  for metric in _told(scored[name]):
    ours, theirs = (table[n]["scores"][metric]["value"] for n in (name, reference))
    if np.all(scored[reference][metric] > 0):
      draws = scored[name][metric] / scored[reference][metric]
      share = {"value": ours / theirs, "interval": bootstrap.interval(draws)}
      shares[metric] = share
  return shares


def _difference(table: Mapping, scored: Mapping, better: str, worse: str) -> list[dict]:
  """Returns what is known of `better` − `worse`, a dict a score."""
  if better not in table or worse not in table:
    return []
  told = []
  for metric in _told(scored[better]):
    ours, theirs = (table[n]["scores"][metric]["value"] for n in (better, worse))
    ends = bootstrap.interval(scored[better][metric] - scored[worse][metric])
    told.append(
      {
        "metric": metric,
        "difference": ours - theirs,
        "interval": ends,
        "verdict": bootstrap.verdict(*ends),
      }
    )
  return told


def _told(scored: Mapping[str, np.ndarray]) -> list[str]:
  # Of BLEU-2 and BLEU-4 the longer.
  names = [name for name in _TOLD if name in scored]
  return [name for name in names if not (name == "bleu2" and "bleu4" in scored)]
