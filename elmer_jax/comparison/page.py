# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The page of a comparison: quality against latency, the tables, exit maps."""

from collections.abc import Mapping, Sequence

from elmer_jax.comparison import table, variants
from elmer_jax.comparison.table import Table
from elmer_jax.metrics.names import SCORES
from elmer_jax.reports import exit_map, html_page, plots

TEXTS = 8  # shown with their exit maps
_MAPPED = ("hard_pretrained", "soft_pretrained", "hard_random", "soft_random")


def page(results: dict, samples: Mapping[str, Sequence[dict]]) -> str:
  """Returns the page.

  Args:
    results: of `comparison.results.collect`.
    samples: by row, those of its evaluation; of the same examples for all rows.
  """
  layers = max(
    (len(sample["layers"]) for found in samples.values() for sample in found), default=1
  )
  entries = results["rows"]
  budgets = sorted({entry["steps"] for entry in entries.values()})
  steps = " or ".join(f"{steps:,}" for steps in budgets)
  subtitle = (
    f"{len(entries)} ways to train and decode, {steps} updates each, scored on "
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
      "ink" if variants.ROWS[name].trained.startswith("ar_") else "accent",
      entry["start"] == "pretrained",
    )
    for name, entry in results["rows"].items()
    if entry["seconds"]
  ]
  return html_page.section(
    "Quality against latency",
    html_page.figure(
      plots.quality_against_latency(marks, SCORES[main]),
      f"{SCORES[main]} of the test outputs with its 95 % interval, against the time "
      "from a text to its output, one at a time, tokenisation included. Discs started "
      "from LPLM pre-training, rings from random weights; blue is written in one pass, "
      "black token by token.",
    ),
  )


def _tables(results: dict) -> str:
  whole = table.main_table(results)
  models = len(results["rows"])
  blocks = [
    _table(part, models)
    for part in (
      whole.until("distinct"),
      whole.since("distinct").until("exit layer"),
      whole.since("exit layer").first(models),
    )
  ]
  blocks += [
    html_page.paragraph(
      "Scores 0 to 100, over all test outputs. Repeats: adjacent equal tokens, which "
      "are removed from what is written in one pass. Foreign source: each source "
      "replaced by another example's. Times are medians with all rows in turn; ids to "
      "ids leaves tokenisation out. Speeds are of one text at a time.",
      "note",
    ),
  ]
  if results["claims"]:
    heading = html_page.element("h3", "What the paper claims")
    blocks += [heading, _table(table.claims_table(results))]
  if results["differences"]:
    heading = html_page.element("h3", "What one change brings")
    blocks += [heading, _table(table.differences_table(results))]
  return html_page.section("Figures", *blocks)


def _table(cells: Table, models: int | None = None) -> str:
  """Returns the markup of a table, with a rule below its first `models` rows."""

  def line(texts: Sequence[str], tag: str, css: str = "") -> str:
    first, *others = map(html_page.escape, texts)
    inner = html_page.element("th", first)
    # No line break inside a score's name.
    unbroken = (text.replace("-", "\u2011") for text in others)
    inner += "".join(html_page.element(tag, text) for text in unbroken)
    return html_page.element("tr", inner, css)

  head = html_page.element("thead", line(cells.heads, "th"))
  body = "".join(
    line(row, "td", "first-baseline" if number == models else "")
    for number, row in enumerate(cells.rows)
  )
  inner = html_page.element("table", head + html_page.element("tbody", body), "scores")
  return html_page.element("div", inner, "wide")


def _maps(
  entries: Mapping[str, dict], samples: Mapping[str, Sequence[dict]], layers: int
) -> str:
  """Returns the exit maps of hard and soft exit, beside each other for each text."""
  shown = [name for name in _MAPPED if name in samples][:2]
  if not shown:
    return ""
  blocks = [
    html_page.paragraph(
      "Each token has the colour of the layer at which it left (hard exit) or at which "
      "its prediction last changed; what it was before stands above it."
    ),
    exit_map.legend(layers),
  ]
  for several in zip(*(samples[name][:TEXTS] for name in shown), strict=True):
    lines = []
    for label in ("source", "reference"):
      text = html_page.element("p", html_page.visible(several[0][label]))
      lines += [html_page.element("h3", label), text]
    maps = "".join(map(_map, several, (entries[name] for name in shown)))
    lines.append(html_page.element("div", maps, "beside"))
    blocks.append(html_page.element("article", "".join(lines), "sample"))
  return html_page.section("Exit maps", *blocks)


def _map(sample: dict, entry: dict) -> str:
  heading = html_page.element("h3", html_page.escape(table.full_label(entry)))
  tokens = exit_map.tokens(sample["layers"], sample["exit_layers"])
  return html_page.element("div", heading + exit_map.coloured(tokens))
