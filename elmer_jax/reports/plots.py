# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Plots of runs and comparisons: SVG for a page, PNG for a notebook.

matplotlib knows no style sheets. For SVG each colour is drawn as a stand-in, which is
then replaced by a custom property of the page with a light and a dark value.
"""

import dataclasses
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from elmer_jax.reports import html_page

Curve = tuple[Sequence[float], Sequence[float]]  # x and y
Colours = Mapping[str, str]  # by the names of `html_page.colours`

_NEAR = 0.12  # of the axes' width: the names of closer points share a column
# Inches of 72 SVG units; the page scales each to its own width.
_WIDTH = 7.4
_PHONE_WIDTH = 3.9
_LEFT, _TOP = 0.48, 0.3  # inches of margin
_STYLE = {
  "svg.fonttype": "none",
  "font.size": 8,
  "axes.titlesize": 8,
  "axes.titleweight": "normal",
  "axes.titlelocation": "left",
  "axes.titlepad": 8,
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


@dataclasses.dataclass(frozen=True)
class Plot:
  """A drawing.

  Attributes:
    draw: draws on a figure.
    height: of the figure, in inches.
    right: margin to the right of the axes, in inches.
    bottom: margin below the axes, in inches.
    layers: decoder layers that have a colour.
    panels: axes, side by side or, on a phone, below each other.
  """

  draw: Callable[[Figure, Colours], None]
  height: float
  right: float = 0.07
  bottom: float = 0.36
  layers: int = 1
  panels: int = 1

  def svg(self) -> str:
    """Returns two `<svg>` elements for a page of `html_page`, one for narrow screens.

    The page shows one of them.
    """
    return html_page.by_width(self._svg(_WIDTH), self._svg(_PHONE_WIDTH))

  def _svg(self, width: float) -> str:
    names = list(html_page.colours(self.layers))
    stand_ins = {name: f"#01{index:04x}" for index, name in enumerate(names)}
    text = self._save(stand_ins, width, format="svg", metadata={"Date": None}).decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<g id=\"[^\"]*\">", "<g>", text)
    for _ in ("width", "height"):
      text = re.sub(r"(<svg[^>]*?) (?:width|height)=\"[^\"]*\"", r"\1", text)
    return re.sub(
      r"#01([0-9a-f]{4})\b", lambda found: f"var(--{names[int(found[1], 16)]})", text
    )

  def png(self) -> bytes:
    """Returns a PNG in the light colours of a page."""
    return self._save(html_page.colours(self.layers), _WIDTH, format="png", dpi=110)

  def _save(self, colours: Colours, width: float, **options) -> bytes:
    style = _STYLE | {
      "axes.edgecolor": colours["rule"],
      "grid.color": colours["rule"],
      "axes.titlecolor": colours["ink"],
      "text.color": colours["ink"],
      "axes.labelcolor": colours["faint"],
      "xtick.color": colours["faint"],
      "ytick.color": colours["faint"],
      "figure.facecolor": colours["paper"],
      "axes.facecolor": "none",
      # Makes the names inside an SVG, and so the page, reproducible.
      "svg.hashsalt": f"{self.draw.__qualname__} {width}",
    }
    rows = self.panels if width < _WIDTH else 1
    height = rows * self.height
    with matplotlib.rc_context(style):
      figure = Figure(figsize=(width, height))
      self.draw(figure, colours)
      margins = (self.bottom + _TOP) / (self.height - self.bottom - _TOP)
      figure.subplots_adjust(
        left=_LEFT / width,
        right=1 - self.right / width,
        bottom=self.bottom / height,
        top=1 - _TOP / height,
        wspace=0.16,
        hspace=margins,
      )
      file = io.BytesIO()
      figure.savefig(file, transparent=options["format"] == "svg", **options)
    return file.getvalue()


def loss(train: Curve, validation: Curve, levels: Sequence[tuple[str, float]]) -> Plot:
  """Returns the loss of both splits over the steps.

  Args:
    train: steps and nats per token.
    validation: the same, of the validation split.
    levels: names and heights of horizontal lines to compare with.
  """

  def draw(figure: Figure, colours: Colours) -> None:
    axes = figure.subplots()
    axes.plot(*train, color=colours["faint"], linewidth=1, alpha=0.6)
    axes.plot(*validation, color=colours["accent"], marker="o", markersize=3.5)
    named = [("training", train[1], "faint"), ("validation", validation[1], "accent")]
    ends = [(f"{name} {ys[-1]:.2f}", ys[-1], colours[c]) for name, ys, c in named if ys]
    for name, height in levels:
      if not math.isfinite(height):
        continue
      axes.axhline(height, color=colours["ink"], linewidth=0.8, dashes=(4, 3))
      ends.append((f"{name} {height:.2f}", height, colours["ink"]))
    axes.set_title("nats per token")
    axes.set_xlabel("step")
    axes.set_xlim(0, max([1, *train[0], *validation[0]]))
    axes.set_ylim(bottom=0)
    _label_ends(axes, ends)

  return Plot(draw, 3.2, right=1.48)


def layers_over_time(
  losses: Sequence[Curve], accuracies: Sequence[Curve], exit_loss: Curve
) -> Plot:
  """Returns each decoder layer's validation loss and accuracy over the steps.

  Args:
    losses: one curve a layer, nats per token.
    accuracies: one curve a layer, 0 to 1.
    exit_loss: the objective's own loss, over layers drawn at random.
  """

  def draw(figure: Figure, colours: Colours) -> None:
    left, right = _panels(figure, 2)
    for axes, curves, factor in ((left, losses, 1), (right, accuracies, 100)):
      for layer, (steps, values) in enumerate(curves, 1):
        line = {"color": colours[f"line-{layer}"], "marker": "o", "markersize": 2.5}
        axes.plot(steps, [value * factor for value in values], **line)
      axes.set_xlabel("step")
    left.plot(*exit_loss, color=colours["ink"], linewidth=0.8, dashes=(4, 3))
    left.set_title("loss, nats per token")
    right.set_title("accuracy, %")
    left.set_ylim(bottom=0)
    right.set_ylim(0, max(1, right.get_ylim()[1]))

  return Plot(draw, 2.6, layers=len(losses), panels=2)


def layers_at_end(losses: Sequence[float], accuracies: Sequence[float]) -> Plot:
  """Returns the last evaluation's loss and accuracy (0 to 1): a bar per layer."""

  def draw(figure: Figure, colours: Colours) -> None:
    numbers = list(range(1, len(losses) + 1))
    percent = [100 * value for value in accuracies]
    for axes, title, values, digits in zip(
      _panels(figure, 2),
      ("loss, nats per token", "accuracy, %"),
      (losses, percent),
      (2, 1),
      strict=True,
    ):
      line_colours = [colours[f"line-{layer}"] for layer in numbers]
      bars = axes.barh(numbers, values, color=line_colours, height=0.6)
      axes.bar_label(bars, fmt=f"{{:.{digits}f}}", padding=4, color=colours["ink"])
      axes.set_xlim(0, 1.15 * max([1e-9, *values]))
      axes.set_yticks(numbers, [f"layer {layer}" for layer in numbers])
      axes.set_ylim(len(numbers) + 0.5, 0.5)
      axes.set_xticks([])
      axes.grid(visible=False)
      axes.spines[["bottom", "left"]].set_visible(False)
      axes.set_title(title)

  height = 0.4 + 0.24 * len(losses)
  return Plot(draw, height, bottom=0.02, layers=len(losses), panels=2)


def _panels(figure: Figure, count: int) -> Sequence[Axes]:
  """Returns axes side by side, or below each other in a figure for a phone."""
  if figure.get_figwidth() < _WIDTH:
    return figure.subplots(count, 1)
  return figure.subplots(1, count)


@dataclasses.dataclass(frozen=True)
class Mark:
  """A point of `quality_against_latency`, with its name beside it.

  Attributes:
    interval: of the score, drawn as a line; None where it isn't known.
    colour: "accent" or "ink".
    filled: whether the point is a disc or a ring.
  """

  name: str
  milliseconds: float
  score: float
  interval: tuple[float, float] | None
  colour: str
  filled: bool


def quality_against_latency(marks: Sequence[Mark], score: str) -> Plot:
  """Returns systems as points: up is better, left is faster."""

  def draw(figure: Figure, colours: Colours) -> None:
    axes = figure.subplots()
    axes.set_xscale("log")
    times = [mark.milliseconds for mark in marks]
    axes.set_xlim(min(times) / 1.3, max(times) * 1.3)
    for mark in marks:
      x, colour = mark.milliseconds, colours[mark.colour]
      if mark.interval:
        axes.vlines(x, *mark.interval, color=colours["rule"], zorder=1)
      # A ring's inside hides the lines below it.
      inside = colour if mark.filled else colours["paper"]
      axes.scatter(x, mark.score, 26, inside, edgecolors=colour, zorder=3)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xticks([], minor=True)
    axes.set_xlabel("milliseconds per text, one at a time")
    axes.set_title(score)
    _name_points(axes, marks, colours)

  return Plot(draw, 3.9, right=2.07)


def _name_points(axes: Axes, marks: Sequence[Mark], colours: Colours) -> None:
  """Writes names to the right of points, below each other where points are close."""
  to_axes = axes.transData + axes.transAxes.inverted()
  points = [(*to_axes.transform((m.milliseconds, m.score)), m) for m in marks]
  groups: list[list[tuple[float, float, Mark]]] = []
  for point in sorted(points, key=lambda point: point[0]):
    if groups and point[0] - groups[-1][-1][0] < _NEAR:
      groups[-1].append(point)
    else:
      groups.append([point])
  line = {"color": colours["rule"], "linewidth": 0.6, "clip_on": False, "zorder": 1}
  for group in groups:
    left = group[-1][0] + 0.04
    group.sort(key=lambda point: point[1])
    heights = _apart([y for _, y, _ in group], 0.05)
    excess = max(0.0, heights[-1] - 1)  # above the axes
    for (x, y, mark), height in zip(group, heights, strict=True):
      height -= excess
      axes.plot([x, left - 0.006], [y, height], transform=axes.transAxes, **line)
      text = {"color": colours[mark.colour], "va": "center", "fontsize": 7}
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


def _label_ends(axes: Axes, ends: Sequence[tuple[str, float, str]]) -> None:
  """Writes (text, height, colour) at the right edge, moved apart where they touch."""
  gap = 0.07  # of the axes' height: a line of text
  to_axes = axes.transData + axes.transAxes.inverted()
  placed = sorted((to_axes.transform((0, y))[1], text, c) for text, y, c in ends)
  heights = _apart([height for height, _, _ in placed], gap)
  for height, (_, text, colour) in zip(heights, placed, strict=True):
    axes.text(1.015, height, text, color=colour, va="center", transform=axes.transAxes)
