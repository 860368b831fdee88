# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The page of a comparison: quality against latency, the tables, exit maps."""

from collections.abc import Mapping, Sequence

from elmer_jax.comparison import table, variants
from elmer_jax.comparison.table import Table
from elmer_jax.evaluation.samples import read_text
from elmer_jax.metrics.names import SCORE_NAMES
from elmer_jax.reports import exit_map, html_page, plots

TEXTS = 8  # shown with their exit maps
_MAPPED = ("hard_pretrained", "soft_pretrained", "hard_random", "soft_random")


def page(results: dict, samples: Mapping[str, Sequence[dict]]) -> str:
  """Returns the page.

  Args:
    results: of `comparison.results.collect`.
    samples: by variant, of its evaluation; of the same examples for all variants.
  """
  layers = max(
    (len(sample["layers"]) for found in samples.values() for sample in found), default=1
  )
  entries = results["rows"]
  budgets = sorted({entry["steps"] for entry in entries.values()})
  steps = " or ".join(f"{steps:,}" for steps in budgets)
  subtitle = html_page.paragraph(
    f"{len(entries)} ways to train and decode, {steps} steps each, scored on "
    f"{results['examples']:,} examples"
  )
  sections = [_overview(results), _tables(results), _maps(entries, samples, layers)]
  return html_page.page("Comparison", subtitle, sections, layers)


def _overview(results: dict) -> str:
  main = results["main"]
  marks = [
    plots.Mark(
      entry["label"],
      1e3 * entry["seconds"]["text_1"],
      entry["scores"][main]["value"],
      entry["scores"][main].get("interval"),
      "ink" if variants.VARIANTS[name].run_name.startswith("ar_") else "accent",
      entry["start"] == "pretrained",
    )
    for name, entry in results["rows"].items()
    if entry["seconds"]
  ]
  return html_page.section(
    "Quality against latency",
    html_page.figure(
      plots.quality_against_latency(marks, SCORE_NAMES[main]).svg(),
      f"{SCORE_NAMES[main]} of the test outputs with its 95 % interval, against the "
      "time from a text to its output, one at a time, with tokenisation. Discs started "
      "from LPLM pre-training, rings from random weights; blue is decoded in one pass, "
      "black token by token.",
    ),
  )


def _tables(results: dict) -> str:
  models = len(results["rows"])
  blocks = [_table(table.main_table(results, [g]), models) for g in table.GROUPS]
  blocks.append(
    html_page.paragraph(
      "Scores 0 to 100, over all test outputs. Repeats: adjacent equal tokens, which "
      "are removed from one-pass outputs. Shuffled source: each source replaced by "
      "another example's. Times are medians of calls in turns; ids to ids excludes "
      "tokenisation. Speed-ups (×) are at one text at a time.",
      "note",
    )
  )
  for title, cells in (
    ("Claims of the paper", table.claims_table(results)),
    ("Effect of single changes", table.differences_table(results)),
  ):
    if cells.rows:
      blocks += [html_page.element("h3", title), _table(cells)]
  return html_page.section("Figures", *blocks)


def _table(cells: Table, models: int | None = None) -> str:
  """Returns the markup of a table, with a rule after its first `models` rows."""
  heads, *rows = (
    # No line breaks inside the names of scores.
    [row[0], *(cell.replace("-", "\u2011") for cell in row[1:])]
    for row in (cells.heads, *cells.rows)
  )
  inner = html_page.table(heads, rows, "scores", {models: "first-baseline"})
  return html_page.element("div", inner, "wide")


def _maps(
  entries: Mapping[str, dict], samples: Mapping[str, Sequence[dict]], layers: int
) -> str:
  """Returns the exit maps of hard and soft exit, side by side for each text."""
  shown = [name for name in _MAPPED if name in samples][:2]
  if not shown:
    return ""
  blocks = [
    html_page.paragraph(
      "Each token has the colour of the layer at which it exited (hard exit) or at "
      "which its prediction last changed; the prediction before that is above it."
    ),
    exit_map.legend(layers),
  ]
  for same in zip(*(samples[name][:TEXTS] for name in shown), strict=True):
    texts = [
      (key, html_page.visible(read_text(same[0], key)))
      for key in ("source", "reference")
    ]
    maps = "".join(map(_map, same, (entries[name] for name in shown)))
    blocks.append(html_page.sample(texts, html_page.element("div", maps, "columns")))
  return html_page.section("Exit maps", *blocks)


def _map(sample: dict, entry: dict) -> str:
  heading = html_page.element("h3", html_page.escape(table.full_label(entry)))
  coloured = exit_map.coloured(sample["layers"], sample["exit_layers"])
  return html_page.element("div", heading + coloured)
