# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the report of a pre-training, a fine-tuning or both.

`index.html` is a page for people (`run_page`); `summary.json` has the figures:

    {"pretrain": {"initial_validation_loss": 8.3, "final_validation_loss": 5.6,
                  "unigram_loss": 6.7, "shuffled_source_loss": 7.0,
                  "tokens_per_second": 5200.0, "steps": 900, ...,
                  "loss_by_layer": [...], "accuracy_by_layer": [...]},
     "test": {"soft_exit": {"rouge1": ..., "rouge2": ..., "rougeL": ...}, ...,
              "examples": 900, "distinct_outputs": 0.8, "removed_repeats": 0.1},
     "seconds": {"pretrain.prepare": 30.0, "finetune.train": 400.0, ...},
     "accounts": {"pretrain": {"goodput": 0.9, "seconds_compile": 20.0, ...}, ...}}

Losses are nats per token, rates source and target tokens per second without padding,
ROUGE 0 to 100, shares and accuracies 0 to 1. The stages of `seconds` are named after
the run and the command.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from elmer_jax.core.atomic_files import write_whole
from elmer_jax.core.errors import UserError
from elmer_jax.reports import run_page
from elmer_jax.reports.read_run import Run, read_run


def write_report(
  run_directories: Sequence[str | Path],
  output_directory: str | Path,
  split: str | None = None,
) -> dict:
  """Writes index.html and summary.json into a folder.

  Args:
    run_directories: folders of evaluated runs: at most one pre-training and at most
      one fine-tuning.
    output_directory: created if it is missing.
    split: of fine-tunings, as `read_run` takes it.

  Returns:
    The content of summary.json.

  Raises:
    UserError: a run lacks what the report needs, or the folder can't be written.
  """
  runs: dict[str, Run] = {}
  for directory in run_directories:
    run = read_run(directory, split)
    if run.purpose in runs:
      raise UserError(
        f"{runs[run.purpose].directory} and {directory} are runs of the same kind: a "
        "report has room for one pre-training and one fine-tuning"
      )
    runs[run.purpose] = run
  if not runs:
    raise UserError("a report needs at least one run")
  summary = _summary(runs)
  page = run_page.page(runs)
  output = Path(output_directory)
  write_whole(output / "index.html", page)
  write_whole(output / "summary.json", json.dumps(summary, indent=2) + "\n")
  return summary


def _summary(runs: dict[str, Run]) -> dict:
  summary: dict = {}
  for purpose, run in runs.items():
    left_out = ("format", "samples", "split", "systems")
    figures = {k: v for k, v in run.results.items() if k not in left_out}
    figures |= run.results.get("systems", {})
    figures["steps"] = run.steps
    figures["loss_by_layer"] = run.last_by_layer("loss")
    figures["accuracy_by_layer"] = run.last_by_layer("accuracy")
    # A fine-tuning is named after the split on which its outputs were scored.
    summary[run.split if purpose == "finetune" else purpose] = figures
  summary["seconds"] = {
    f"{purpose}.{stage}": seconds
    for purpose, run in runs.items()
    for stage, seconds in run.seconds.items()
  }
  summary["accounts"] = {purpose: run.accounts for purpose, run in runs.items()}
  return summary
