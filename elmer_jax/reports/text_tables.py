# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The results of a run as lines for a terminal."""

from collections.abc import Mapping, Sequence

from elmer_jax.core.wording import count_of
from elmer_jax.metrics.names import SCORE_NAMES, SYSTEM_NAMES
from elmer_jax.reports.findings import problems
from elmer_jax.reports.read_run import Run


def results(run: Run) -> list[str]:
  """Returns the table of an evaluated run, and what is wrong with its results."""
  table = _losses(run) if run.purpose == "pretrain" else _scores(run)
  return ["", *table, "", *problems(run)]


def score_columns(systems: Mapping[str, Mapping[str, float]]) -> list[str]:
  """Returns the scores that all systems have, by name.

  METEOR is missing where its program did not run.
  """
  return [
    key
    for key in sorted(SCORE_NAMES, key=SCORE_NAMES.get)
    if all(key in scores for scores in systems.values())
  ]


def _losses(run: Run) -> list[str]:
  found = run.results
  heading = f"validation, {count_of(found['examples'], 'example')}"
  rows = [
    (f"after {count_of(run.steps, 'step')}", found["final_validation_loss"]),
    ("before the first step", found["initial_validation_loss"]),
    ("unigram: the best without a source", found["unigram_loss"]),
    ("with another example's source", found["shuffled_source_loss"]),
  ]
  return _aligned(
    [(heading, "nats per token"), *((name, f"{loss:.2f}") for name, loss in rows)]
  )


def _scores(run: Run) -> list[str]:
  systems = run.results["systems"]
  columns = score_columns(systems)
  heading = f"{run.split}, {count_of(run.results['examples'], 'example')}"
  rows = [(heading, *(SCORE_NAMES[key] for key in columns), "distinct")]
  for name, scores in systems.items():
    distinct = scores.get("distinct_outputs")
    rows.append(
      (
        SYSTEM_NAMES.get(name, name),
        *(f"{scores[key]:.1f}" for key in columns),
        "" if distinct is None else f"{distinct:.0%}",
      )
    )
  return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
  """Returns rows with the first column to the left and the others to the right."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return [
    "  ".join(
      [first.ljust(widths[0])]
      + [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
    ).rstrip()
    for first, *cells in rows
  ]
