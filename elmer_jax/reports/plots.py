# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Plots as SVG inside a page, in the page's own fonts and colours.

matplotlib knows no style sheets, so each colour is drawn as a stand-in that the SVG
text then replaces by a custom property of the page, which has a light and a dark value.
"""

import dataclasses
import io
import math
import re
from collections.abc import Callable, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Curve = tuple[Sequence[float], Sequence[float]]

_NEAR = 0.12  # of the axes' width: the names of closer points share a column
_WIDTH = 7.4  # inches of 72 SVG units; the page scales it to its own width
_STYLE = {
  "svg.fonttype": "none",
  "font.size": 8,
  "axes.titlesize": 8,
  "axes.titleweight": "normal",
  "axes.titlelocation": "left",
  "axes.linewidth": 0.6,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.grid": True,
  "axes.grid.axis": "y",
  "axes.axisbelow": True,
  "grid.linewidth": 0.5,
  "xtick.major.size": 0,
  "ytick.major.size": 0,
  "lines.linewidth": 1.5,
  "lines.solid_capstyle": "round",
}
_NAMED = {
  "ink": "#010101",
  "faint": "#010102",
  "rule": "#010103",
  "accent": "#010104",
  "paper": "#010105",
}


def _layer_colour(layer: int) -> str:
  return f"#02{layer:04x}"


def _property(colour: re.Match) -> str:
  for name, stand_in in _NAMED.items():
    if colour[0] == stand_in:
      return f"var(--{name})"
  return f"var(--line-{int(colour[0][3:], 16)})"


def loss(train: Curve, validation: Curve, levels: Sequence[tuple[str, float]]) -> str:
  """Draws the loss of both splits over the steps.

  Args:
    train: steps and nats per token.
    validation: the same, of the validation split.
    levels: names and heights of horizontal lines to compare with.
  """

  def draw(figure: Figure) -> None:
    axes = figure.subplots()
    axes.plot(*train, color=_NAMED["faint"], linewidth=1, alpha=0.6)
    axes.plot(*validation, color=_NAMED["accent"], marker="o", markersize=3.5)
    named = [("training", train[1], "faint"), ("validation", validation[1], "accent")]
    ends = [(f"{name} {ys[-1]:.2f}", ys[-1], _NAMED[c]) for name, ys, c in named if ys]
    for name, height in levels:
      if not math.isfinite(height):
        continue
      axes.axhline(height, color=_NAMED["ink"], linewidth=0.8, dashes=(4, 3))
      ends.append((f"{name} {height:.2f}", height, _NAMED["ink"]))
    _title(axes, "nats per token")
    axes.set_xlabel("step")
    axes.set_xlim(0, max([1, *train[0], *validation[0]]))
    _label_ends(axes, ends)

  return _svg(draw, 3.2, right=0.8)


def layers_over_time(
  losses: Sequence[Curve], accuracies: Sequence[Curve], exit_loss: Curve
) -> str:
  """Draws each decoder layer's validation loss and accuracy over the steps.

  Args:
    losses: one curve a layer, nats per token.
    accuracies: one curve a layer, 0 to 1.
    exit_loss: the objective's own loss, over layers drawn at random.
  """

  def draw(figure: Figure) -> None:
    left, right = figure.subplots(1, 2)
    for axes, curves, factor in ((left, losses, 1), (right, accuracies, 100)):
      for layer, (steps, values) in enumerate(curves, 1):
        heights = [value * factor for value in values]
        axes.plot(
          steps, heights, color=_layer_colour(layer), marker="o", markersize=2.5
        )
      axes.set_xlabel("step")
    left.plot(*exit_loss, color=_NAMED["ink"], linewidth=0.8, dashes=(4, 3))
    _title(left, "loss, nats per token")
    _title(right, "accuracy, %")

  return _svg(draw, 2.6)


def layers_now(losses: Sequence[float], accuracies: Sequence[float]) -> str:
  """Draws the last evaluation's loss and accuracy (0 to 1), a line a layer.

  The losses differ little beside their size, so they are points on their own scale;
  the accuracies are bars from zero.
  """

  def draw(figure: Figure) -> None:
    left, right = figure.subplots(1, 2)
    numbers = list(range(1, len(losses) + 1))
    colours = [_layer_colour(layer) for layer in numbers]
    spread = max(max(losses) - min(losses), 1e-3)
    left.hlines(numbers, 0, losses, color=_NAMED["rule"], linewidth=0.8, zorder=1)
    left.scatter(losses, numbers, color=colours, s=34)
    left.set_xlim(min(losses) - 0.5 * spread, max(losses) + 0.5 * spread)
    for layer, value in zip(numbers, losses, strict=True):
      place = {"xytext": (7, 0), "textcoords": "offset points", "va": "center"}
      left.annotate(f"{value:.2f}", (value, layer), color=_NAMED["ink"], **place)
    percent = [100 * value for value in accuracies]
    bars = right.barh(numbers, percent, color=colours, height=0.6)
    right.bar_label(bars, fmt="{:.1f}", padding=4, color=_NAMED["ink"])
    right.set_xlim(0, 1.15 * max([1e-9, *percent]))
    for axes in (left, right):
      axes.set_yticks(numbers, [f"layer {layer}" for layer in numbers])
      axes.set_ylim(len(numbers) + 0.5, 0.5)
      axes.set_xticks([])
      axes.grid(visible=False)
      axes.spines[["bottom", "left"]].set_visible(False)
    _title(left, "loss, nats per token")
    _title(right, "accuracy, %")

  return _svg(draw, 0.4 + 0.24 * len(losses), bottom=0.02)


@dataclasses.dataclass(frozen=True)
class Mark:
  """A point of `quality_against_latency`, with its name beside it.

  Attributes:
    interval: of the height, drawn as a line; None where it isn't known.
    css: which colour: "accent" or "ink".
    filled: whether the point is a disc or a ring.
  """

  name: str
  milliseconds: float
  score: float
  interval: tuple[float, float] | None
  css: str
  filled: bool


def quality_against_latency(marks: Sequence[Mark], score: str) -> str:
  """Draws systems as points: up is better, left is faster."""

  def draw(figure: Figure) -> None:
    axes = figure.subplots()
    axes.set_xscale("log")
    times = [mark.milliseconds for mark in marks]
    # Names stand to the right of their points.
    axes.set_xlim(min(times) / 1.3, max(times) * 1.3)
    for mark in marks:
      colour = _NAMED[mark.css]
      if mark.interval:
        axes.vlines(mark.milliseconds, *mark.interval, color=_NAMED["rule"], zorder=1)
      # A ring's inside hides the lines behind it.
      inside = colour if mark.filled else _NAMED["paper"]
      axes.scatter(
        mark.milliseconds, mark.score, 26, inside, edgecolors=colour, zorder=3
      )
    ticks = _ticks(*axes.get_xlim())
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("milliseconds a text, one at a time")
    _title(axes, score)
    _name_points(axes, marks)

  return _svg(draw, 3.9, right=0.72)


def _ticks(low: float, high: float) -> list[float]:
  """Returns 1, 2, 5 and their tenfolds between two ends."""
  powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
  ticks = [base * 10.0**power for power in powers for base in (1, 2, 5)]
  return [tick for tick in ticks if low <= tick <= high]


def _name_points(axes: Axes, marks: Sequence[Mark]) -> None:
  """Writes names to the right of points, below each other where points are close."""
  to_axes = axes.transData + axes.transAxes.inverted()
  places = [to_axes.transform((mark.milliseconds, mark.score)) for mark in marks]
  by_time = sorted(range(len(marks)), key=lambda number: places[number][0])
  groups: list[list[int]] = []
  for number in by_time:
    if groups and places[number][0] - places[groups[-1][-1]][0] < _NEAR:
      groups[-1].append(number)
    else:
      groups.append([number])
  for group in groups:
    left = max(places[number][0] for number in group) + 0.04
    ordered = sorted(group, key=lambda number: places[number][1])
    heights = _apart([places[number][1] for number in ordered], 0.05)
    for number, height in zip(ordered, heights, strict=True):
      mark, (x, y) = marks[number], places[number]
      line = {"color": _NAMED["rule"], "linewidth": 0.6, "clip_on": False, "zorder": 1}
      axes.plot([x, left - 0.006], [y, height], transform=axes.transAxes, **line)
      text = {"color": _NAMED[mark.css], "va": "center", "fontsize": 7}
      axes.text(left, height, mark.name, transform=axes.transAxes, **text)


def _apart(heights: Sequence[float], gap: float) -> list[float]:
  """Returns rising heights moved as little as keeps them `gap` apart."""
  moved = list(heights)
  for _ in range(len(moved) * 20):
    for low in range(len(moved) - 1):
      overlap = gap - (moved[low + 1] - moved[low])
      if overlap > 1e-6:
        moved[low] -= overlap / 2
        moved[low + 1] += overlap / 2
  return moved


def _title(axes: Axes, text: str) -> None:
  axes.set_title(text, color=_NAMED["ink"], pad=8)


def _label_ends(axes: Axes, ends: Sequence[tuple[str, float, str]]) -> None:
  """Writes (text, height, colour) at the right edge, moved apart where they touch."""
  gap = 0.07  # of the axes' height: a line of text
  to_axes = axes.transData + axes.transAxes.inverted()
  placed = sorted((to_axes.transform((0, y))[1], text, c) for text, y, c in ends)
  heights = _apart([height for height, _, _ in placed], gap)
  for height, (_, text, colour) in zip(heights, placed, strict=True):
    axes.text(1.015, height, text, color=colour, va="center", transform=axes.transAxes)


def _svg(
  draw: Callable[[Figure], None],
  height: float,
  right: float = 0.99,
  bottom: float = 0.36,
) -> str:
  """Returns what `draw` puts on a figure as an `<svg>` element.

  `height` of the figure and the margin at its `bottom` are in inches; `right` is
  where the axes end, as a share of the width.
  """
  colours = {
    "axes.edgecolor": _NAMED["rule"],
    "grid.color": _NAMED["rule"],
    "text.color": _NAMED["ink"],
    "axes.labelcolor": _NAMED["faint"],
    "xtick.color": _NAMED["faint"],
    "ytick.color": _NAMED["faint"],
  }
  # The salt makes the names inside the file, and so the report, reproducible.
  with matplotlib.rc_context(_STYLE | colours | {"svg.hashsalt": draw.__qualname__}):
    figure = Figure(figsize=(_WIDTH, height))
    draw(figure)
    figure.subplots_adjust(
      left=0.065,
      right=right,
      bottom=bottom / height,
      top=1 - 0.3 / height,
      wspace=0.16,
    )
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
  text = file.getvalue()
  text = text[text.index("<svg") :]
  text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
  text = re.sub(r"<g id=\"[^\"]*\">", "<g>", text)
  text = re.sub(r"(<svg[^>]*?) (?:width|height)=\"[^\"]*\"", r"\1", text)
  text = re.sub(r"(<svg[^>]*?) (?:width|height)=\"[^\"]*\"", r"\1", text)
  return re.sub(r"#0[12][0-9a-f]{4}\b", _property, text)
