# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the files of a finished run for its report."""

import collections
import dataclasses
import math
from pathlib import Path

from elmer_jax.core.errors import UserError
from elmer_jax.core.json_files import (
  is_of,
  read_lines,
  read_object,
  read_object_if_present,
)
from elmer_jax.evaluation import samples

# The results of `evaluate` by what the run was for (by default the first file that
# exists), and the keys that the report needs.
RESULTS = {
  "pretrain": (
    ("evaluation/pretrain.json",),
    {
      "initial_validation_loss": float,
      "final_validation_loss": float,
      "unigram_loss": float,
      "shuffled_source_loss": float,
      "samples": list,
    },
  ),
  "finetune": (
    ("evaluation/test.json", "evaluation/validation.json"),
    {
      "systems": dict,
      "examples": int,
      "distinct_outputs": float,
      "removed_repeats": float,
      "samples": list,
    },
  ),
}


class Metrics(dict[str, dict[int, dict[str, float]]]):
  """{split: {step: {name: value}}}, steps rising."""

  def curve(self, split: str, name: str) -> tuple[list[int], list[float]]:
    """Returns the steps at which `name` was measured and finite, and its values."""
    steps = self.get(split, {}).items()
    points = {step: values.get(name, math.nan) for step, values in steps}
    finite = {step: value for step, value in points.items() if math.isfinite(value)}
    return list(finite), list(finite.values())


@dataclasses.dataclass(frozen=True)
class Run:
  """One run.

  Attributes:
    purpose: "pretrain" or "finetune".
    config: the nested configuration.
    metrics: of training and validation.
    seconds: {stage: seconds}.
    accounts: where training's time went and what it achieved; empty for a run of a
      version that did not record it.
    results_file: written by `evaluate`.
    results: its content, in the present format.
  """

  directory: Path
  purpose: str
  config: dict
  metrics: Metrics
  seconds: dict[str, float]
  accounts: dict[str, float]
  results_file: Path
  results: dict

  @property
  def layers(self) -> int:
    """The number of decoder layers with validation metrics; 0 if none has."""
    count = 0
    while self.metrics.curve("validation", f"loss_layer_{count + 1}")[0]:
      count += 1
    return count

  def last_by_layer(self, name: str) -> list[float]:
    """Returns each layer's last validation "loss" or "accuracy"."""
    layers = range(1, self.layers + 1)
    return [
      self.metrics.curve("validation", f"{name}_layer_{n}")[1][-1] for n in layers
    ]

  @property
  def split(self) -> str:
    """The split on which a fine-tuning was scored."""
    return self.results.get("split", "test")

  @property
  def steps(self) -> int:
    return max((step for split in self.metrics.values() for step in split), default=0)


def read_run(directory: str | Path, split: str | None = None) -> Run:
  """Reads the folder of an evaluated run.

  Args:
    directory: of the run.
    split: on which a fine-tuning was scored; by default "test", if that was.

  Raises:
    UserError: it is not a run's folder, not evaluated yet, or a file is damaged.
  """
  directory = Path(directory)
  if not (directory / "config.json").is_file():
    raise UserError(f"{directory} is not the folder of a run: it has no config.json")
  found = {}
  for purpose, (names, _) in RESULTS.items():
    existing = [name for name in names if (directory / name).is_file()]
    existing.sort(key=lambda name: Path(name).stem != split)
    if existing:
      found[purpose] = existing[0]
  if not found:
    raise UserError(
      f"{directory} is not evaluated yet: run python -m elmer_jax.evaluate on it first"
    )
  if len(found) > 1:
    raise UserError(f"{directory} has both {' and '.join(found.values())}")
  [(purpose, name)] = found.items()
  _, keys = RESULTS[purpose]
  results = samples.read_results(directory / name, keys)
  if not (directory / "metrics.jsonl").is_file():
    raise UserError(f"{directory / 'metrics.jsonl'} is missing: train the run first")
  return Run(
    directory=directory,
    purpose=purpose,
    config=read_object(directory / "config.json"),
    metrics=read_metrics(directory / "metrics.jsonl"),
    seconds=_numbers(directory / "timing.json"),
    accounts=_numbers(directory / "accounts.json"),
    results_file=directory / name,
    results=results,
  )


def _numbers(path: Path) -> dict[str, float]:
  """Returns the numbers of a JSON object by name; none if the file is missing."""
  found = read_object_if_present(path) or {}
  return {name: value for name, value in found.items() if is_of(value, float)}


def read_metrics(path: Path) -> Metrics:
  """Reads a metrics.jsonl; of two lines for a step the later one counts."""
  found = collections.defaultdict(dict)
  for line in read_lines(path, {"split": str, "step": int}):
    values = {name: value for name, value in line.items() if is_of(value, float)}
    found[line["split"]][values.pop("step")] = values
  return Metrics({split: dict(sorted(steps.items())) for split, steps in found.items()})
