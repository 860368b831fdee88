# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a comparison as tables: cells of text, and Markdown."""

import dataclasses
from collections.abc import Callable, Sequence

from elmer_jax.comparison.variants import STARTS
from elmer_jax.evaluation.latency import BATCHES
from elmer_jax.metrics import text_metrics
from elmer_jax.metrics.names import SCORE_NAMES, SYSTEM_NAMES

GROUPS = ("scores", "checks", "speed")  # of the main table's columns


@dataclasses.dataclass(frozen=True)
class Table:
  """Cells of text: names in the first column, figures in the others."""

  heads: Sequence[str]
  rows: Sequence[Sequence[str]]


def tables(results: dict) -> list[Table]:
  """Returns all tables that have rows."""
  found = [main_table(results), claims_table(results), differences_table(results)]
  return [table for table in found if table.rows]


def main_table(results: dict, groups: Sequence[str] = GROUPS) -> Table:
  """Returns the table of all variants and, below them, of the baselines.

  Rows without figures in these groups of columns are left out.
  """
  by_group = _columns(results)
  columns = [column for group in groups for column in by_group[group]]
  baselines = [
    {
      "label": SYSTEM_NAMES[name],
      "scores": {key: {"value": value} for key, value in scores.items()},
      "distinct_outputs": scores.get("distinct_outputs"),
    }
    for name, scores in results["baselines"].items()
  ]
  rows = [
    [full_label(entry), *(cell(entry) for _, cell in columns)]
    for entry in (*results["rows"].values(), *baselines)
  ]
  heads = ["", *(head for head, _ in columns)]
  return Table(heads, [row for row in rows if any(row[1:])])


def _columns(results: dict) -> dict[str, list[tuple[str, Callable[[dict], str]]]]:
  """Returns heads and functions from an entry to its cell, by group."""
  main, (one, many) = results["main"], BATCHES
  label, share, score = SCORE_NAMES[main], "{:.0%}".format, "{:.1f}".format
  # Of BLEU only the highest order.
  names = [name for name in results["metrics"] if not name.startswith("bleu")]
  names += [name for name in results["metrics"] if name.startswith("bleu")][-1:]
  names.sort(key=lambda name: (name not in text_metrics.ROUGE, name))

  def milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.1f}"

  def texts_per_second(seconds: float) -> str:
    return f"{many / seconds:,.0f}"

  return {
    "scores": [
      *((SCORE_NAMES[name], _cell(score, "scores", name, "value")) for name in names),
      ("95 %", _cell(_interval("{:.1f}"), "scores", main, "interval")),
      (f"of AR's {label}", _cell(share, "of_autoregressive", main, "value")),
    ],
    "checks": [
      ("distinct", _cell(share, "distinct_outputs")),
      ("repeats removed", _cell(share, "removed_repeats")),
      (f"{label}, repeats kept", _cell(score, "repeats_kept", main)),
      (f"{label}, shuffled source", _cell(score, "shuffled_source", main)),
    ],
    "speed": [
      ("exit layer", _cell("{:.2f}".format, "mean_exit_layer")),
      ("ms per text", _cell(milliseconds, "seconds", f"text_{one}")),
      ("ms, ids to ids", _cell(milliseconds, "seconds", f"ids_{one}")),
      (f"texts/s at {many}", _cell(texts_per_second, "seconds", f"text_{many}")),
      ("texts/s, ids to ids", _cell(texts_per_second, "seconds", f"ids_{many}")),
      ("× AR greedy", _cell(score, "speed", "greedy")),
      ("× AR beam 4", _cell(score, "speed", "beam4")),
    ],
  }


def _cell(form: Callable[[object], str], *path: str) -> Callable[[dict], str]:
  """Returns a function that formats the value at `path` in an entry.

  It returns "–" where there is no value, "" for entries that can't have one.
  """

  def cell(entry: dict) -> str:
    if path[0] not in entry:
      return ""
    value = entry
    for key in path:
      value = (value or {}).get(key)
    return "–" if value is None else form(value)

  return cell


def claims_table(results: dict) -> Table:
  """Returns the paper's claims and whether the intervals support them."""
  rows = [
    [claim["claim"], *_difference(claim), claim["verdict"]]
    for claim in results["claims"]
  ]
  return Table(["claim", "score", "difference", "95 %", "verdict"], rows)


def differences_table(results: dict) -> Table:
  """Returns the gain of each variant over its baseline."""
  rows = [
    [f"{found['row']} − {found['baseline']}", *_difference(found)]
    for found in results["differences"]
  ]
  return Table(["difference", "score", "difference", "95 %"], rows)


def full_label(entry: dict) -> str:
  """Returns label and start of a row."""
  start = f", {STARTS[entry['start']]}" if "start" in entry else ""
  return entry["label"] + start


def markdown(table: Table) -> str:
  """Returns a table in Markdown, padded so that a terminal aligns it too."""
  columns = zip(table.heads, *table.rows, strict=True)
  first, *others = (max(map(len, column)) for column in columns)

  def line(cells: Sequence[str]) -> str:
    padded = [cells[0].ljust(first), *map(str.rjust, cells[1:], others)]
    return f"| {' | '.join(padded)} |\n"

  rule = "|".join(["-" * (first + 2), *("-" * (width + 1) + ":" for width in others)])
  return line(table.heads) + f"|{rule}|\n" + "".join(map(line, table.rows))


def _difference(found: dict) -> list[str]:
  interval = _interval("{:+.2f}")(found["interval"])
  return [SCORE_NAMES[found["metric"]], f"{found['difference']:+.2f}", interval]


def _interval(form: str) -> Callable[[Sequence[float]], str]:
  return lambda ends: " to ".join(map(form.format, ends))
