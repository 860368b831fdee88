# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What a finished run left in its folder, read for the report."""

import dataclasses
import json
import math
from pathlib import Path

from elmer_jax.core.errors import UserError

# Where `evaluate` leaves its results, by what the run was for (the first file that is
# there counts), and the keys of which the report speaks.
RESULTS = {
  "pretrain": (
    ("evaluation/pretrain.json",),
    (
      "initial_validation_loss",
      "final_validation_loss",
      "unigram_loss",
      "shuffled_source_loss",
      "samples",
    ),
  ),
  "finetune": (
    ("evaluation/test.json", "evaluation/validation.json"),
    ("systems", "examples", "distinct_outputs", "removed_repeats", "samples"),
  ),
}


@dataclasses.dataclass(frozen=True)
class Run:
  """One run.

  Attributes:
    purpose: "pretrain" or "finetune", by what `evaluate` found to measure.
    config: the nested configuration.
    metrics: {split: {step: {name: value}}}, steps rising.
    seconds: {stage: seconds}.
    accounts: where training's time went and what it achieved (`training.accounts`);
      empty for a run that an older version made.
    results: what `evaluate` found.
  """

  directory: Path
  purpose: str
  config: dict
  metrics: dict[str, dict[int, dict[str, float]]]
  seconds: dict[str, float]
  accounts: dict[str, float]
  results: dict

  def curve(self, split: str, name: str) -> tuple[list[int], list[float]]:
    """Returns the steps at which `name` was measured and finite, and its values."""
    return curve(self.metrics, split, name)

  @property
  def layers(self) -> int:
    """Decoder layers of which the validation speaks; 0 without any."""
    count = 0
    while self.curve("validation", f"loss_layer_{count + 1}")[0]:
      count += 1
    return count

  @property
  def steps(self) -> int:
    return max((step for split in self.metrics.values() for step in split), default=0)


def read_run(directory: str | Path) -> Run:
  """Reads the folder of a run that was evaluated.

  Raises:
    UserError: if it is no run's folder, not evaluated yet, or a file is damaged.
  """
  directory = Path(directory)
  if not (directory / "config.json").is_file():
    raise UserError(f"{directory} is not the folder of a run: it has no config.json")
  found = {
    purpose: next(name for name in names if (directory / name).is_file())
    for purpose, (names, _) in RESULTS.items()
    if any((directory / name).is_file() for name in names)
  }
  if not found:
    raise UserError(
      f"{directory} was not evaluated yet: run python -m elmer_jax.evaluate on it first"
    )
  if len(found) > 1:
    raise UserError(f"{directory} has both {' and '.join(found.values())}")
  [(purpose, name)] = found.items()
  _, keys = RESULTS[purpose]
  results = _read_object(directory / name)
  if missing := [key for key in keys if key not in results]:
    raise UserError(
      f"{directory / name} lacks {', '.join(missing)}: run elmer_jax.evaluate again"
    )
  timing, accounts = directory / "timing.json", directory / "accounts.json"
  return Run(
    directory=directory,
    purpose=purpose,
    config=_read_object(directory / "config.json"),
    metrics=_read_metrics(directory / "metrics.jsonl"),
    seconds=_read_object(timing) if timing.is_file() else {},
    accounts=_read_object(accounts) if accounts.is_file() else {},
    results=results,
  )


def _read_object(path: Path) -> dict:
  try:
    content = json.loads(path.read_text(encoding="utf-8"))
  except (OSError, ValueError) as error:
    raise UserError(f"{path} can't be read: {error}") from error
  if not isinstance(content, dict):
    raise UserError(f"{path} is not a JSON object")
  return content


def _read_metrics(path: Path) -> dict[str, dict[int, dict[str, float]]]:
  """Reads metrics.jsonl; of two lines for a step the later one counts."""
  if not path.is_file():
    raise UserError(f"{path} is missing: the run was not trained here")
  found: dict[str, dict[int, dict[str, float]]] = {}
  for line in path.read_text(encoding="utf-8").splitlines():
    try:
      values = json.loads(line)
      step, split = values.pop("step"), values.pop("split")
    except (ValueError, KeyError):
      continue  # a line cut short when the run was killed
    found.setdefault(split, {})[step] = values
  return {split: dict(sorted(by_step.items())) for split, by_step in found.items()}
