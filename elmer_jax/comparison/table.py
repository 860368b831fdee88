# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a comparison as tables: cells of text, and Markdown."""

import dataclasses
from collections.abc import Sequence

from elmer_jax.comparison.variants import STARTS
from elmer_jax.evaluation.latency import BATCHES
from elmer_jax.metrics import text_metrics
from elmer_jax.metrics.names import SCORE_NAMES, SYSTEM_NAMES


@dataclasses.dataclass(frozen=True)
class Table:
  """Cells of text: names in the first column, figures in the others."""

  heads: Sequence[str]
  rows: Sequence[Sequence[str]]

  def until(self, head: str) -> "Table":
    """Returns the columns before one."""
    end = self.heads.index(head)
    return Table(self.heads[:end], [row[:end] for row in self.rows])

  def since(self, head: str) -> "Table":
    """Returns the names and the columns from one on."""
    start = self.heads.index(head)
    return Table(
      [self.heads[0], *self.heads[start:]],
      [[row[0], *row[start:]] for row in self.rows],
    )

  def first(self, count: int) -> "Table":
    """Returns the first rows."""
    return Table(self.heads, self.rows[:count])


def tables(results: dict) -> list[Table]:
  """Returns all tables that have rows."""
  return [
    main_table(results),
    *([claims_table(results)] if results["claims"] else []),
    *([differences_table(results)] if results["differences"] else []),
  ]


def main_table(results: dict) -> Table:
  """Returns the table of all variants and, below them, of the baselines."""
  names, main = columns(results), results["main"]
  label = SCORE_NAMES[main]
  heads = ["", *(SCORE_NAMES[name] for name in names), "95 %", f"of AR's {label}"]
  heads += ["distinct", "repeats removed", f"{label}, repeats kept"]
  heads += [f"{label}, shuffled source", "exit layer"]
  heads += ["ms per text", "ms, ids to ids", "texts/s at 32", "texts/s, ids to ids"]
  heads += ["× AR greedy", "× AR beam 4"]
  rows = [_cells(entry, names, main) for entry in results["rows"].values()]
  for name, scores in results["baselines"].items():
    cells = [SYSTEM_NAMES[name], *(_figure(scores.get(key)) for key in names)]
    cells += ["", "", _share(scores.get("distinct_outputs"))]
    rows.append(cells + [""] * (len(heads) - len(cells)))
  return Table(heads, rows)


def claims_table(results: dict) -> Table:
  """Returns the paper's claims and whether the intervals support them."""
  rows = [[claim["claim"], *_difference(claim)] for claim in results["claims"]]
  return Table(["claim", "score", "difference", "95 %", "verdict"], rows)


def differences_table(results: dict) -> Table:
  """Returns the gain of each variant over its baseline."""
  rows = [
    [f"{found['row']} − {found['baseline']}", *_difference(found)[:-1]]
    for found in results["differences"]
  ]
  return Table(["difference", "score", "difference", "95 %"], rows)


def columns(results: dict) -> list[str]:
  """Returns the scores that have a column: of BLEU only the highest order."""
  names = [name for name in results["metrics"] if not name.startswith("bleu")]
  names += [name for name in results["metrics"] if name.startswith("bleu")][-1:]
  return sorted(names, key=lambda name: (name not in text_metrics.ROUGE, name))


def full_label(entry: dict) -> str:
  return f"{entry['label']}, {STARTS[entry['start']]}"


def markdown(table: Table) -> str:
  """Returns a table in Markdown, padded so that it reads in a terminal too."""
  widths = [
    max(map(len, column)) for column in zip(table.heads, *table.rows, strict=True)
  ]

  def line(cells: Sequence[str]) -> str:
    padded = [cells[0].ljust(widths[0])]
    padded += [
      cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)
    ]
    return f"| {' | '.join(padded)} |\n"

  rule = "|".join(
    "-" * (width + 1) + ("-" if column == 0 else ":")
    for column, width in enumerate(widths)
  )
  return line(table.heads) + f"|{rule}|\n" + "".join(map(line, table.rows))


def _cells(entry: dict, names: Sequence[str], main: str) -> list[str]:
  scores, seconds = entry["scores"], entry["seconds"]
  cells = [full_label(entry)]
  cells += [
    _figure(scores[name]["value"] if name in scores else None) for name in names
  ]
  cells.append(_interval(scores[main].get("interval"), 1))
  cells.append(_share(entry["of_autoregressive"].get(main, {}).get("value")))
  cells += [_share(entry["distinct_outputs"]), _share(entry["removed_repeats"])]
  cells += [
    _figure(entry[key].get(main)) for key in ("repeats_kept", "shuffled_source")
  ]
  cells.append(_figure(entry["mean_exit_layer"], 2))
  if seconds:
    one, many = BATCHES
    cells += [f"{1e3 * seconds[f'{kind}_{one}']:.1f}" for kind in ("text", "ids")]
    cells += [f"{many / seconds[f'{kind}_{many}']:,.0f}" for kind in ("text", "ids")]
  else:
    cells += ["–"] * 4
  return cells + [_figure(entry["speed"].get(key)) for key in ("greedy", "beam4")]


def _difference(found: dict) -> list[str]:
  cells = [SCORE_NAMES[found["metric"]], f"{found['difference']:+.2f}"]
  return [*cells, _interval(found["interval"], 2, "+"), found["verdict"]]


def _figure(value: float | None, digits: int = 1) -> str:
  return "–" if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
  return "–" if value is None else f"{value:.0%}"


def _interval(ends: Sequence[float] | None, digits: int, sign: str = "") -> str:
  if ends is None:
    return "–"
  return " to ".join(f"{end:{sign}.{digits}f}" for end in ends)
