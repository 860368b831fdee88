# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures for notebooks: curves that grow while a run trains, a text's exit map.

They are PNG, which every viewer of notebooks shows, and need IPython, which every
notebook has.
"""

import contextlib
import io
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from elmer_jax.core.errors import UserError

_TRAIN, _VALIDATION = "#9aa4b2", "#1f5fbf"
_LETTER = 0.085  # inches that a letter takes in the exit map
_ROW = 0.3  # inches


@contextlib.contextmanager
def live_curves(workdir: str, every: float = 2.0) -> Iterator[None]:
  """Draws the loss of the run in `workdir` anew every few seconds, in one picture.

      with live_curves("W/pretrain"):
        !python -m elmer_jax.train --config=... --workdir=W/pretrain

  Args:
    workdir: of the run; it need not exist yet.
    every: seconds between two pictures.

  Raises:
    UserError: nothing was trained by the end.
  """
  from IPython import display

  metrics = Path(workdir) / "metrics.jsonl"
  handle = display.display(display.Image(curves(metrics)), display_id=True)
  done = threading.Event()

  def follow() -> None:
    while not done.wait(every):
      handle.update(display.Image(curves(metrics)))

  follower = threading.Thread(target=follow, daemon=True)
  follower.start()
  try:
    yield
  finally:
    done.set()
    follower.join()
    handle.update(display.Image(curves(metrics)))
  if not metrics.exists():
    raise UserError(f"nothing was trained in {workdir}: the lines above say why")


def curves(metrics: Path) -> bytes:
  """Returns a PNG of the training and validation loss in a run's `metrics.jsonl`."""
  figure = Figure(figsize=(7.2, 2.6), layout="constrained")
  axes = figure.subplots()
  for split, colour, marker in (
    ("train", _TRAIN, ""),
    ("validation", _VALIDATION, "o"),
  ):
    points = _losses(metrics, split)
    label = f"{split} {points[-1][1]:.2f}" if points else split
    steps, losses = [step for step, _ in points], [loss for _, loss in points]
    axes.plot(steps, losses, color=colour, marker=marker, markersize=4, label=label)
  axes.set_xlabel("update")
  axes.set_ylabel("nats per token")
  axes.grid(axis="y", linewidth=0.4)
  axes.spines[["top", "right"]].set_visible(False)
  axes.legend(frameon=False, loc="upper right")
  return _png(figure)


def _losses(metrics: Path, split: str) -> list[tuple[int, float]]:
  """Returns (update, nats per token) of the lines that are written whole."""
  text = metrics.read_text() if metrics.exists() else ""
  lines = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
  return [(line["step"], line["loss"]) for line in lines if line["split"] == split]


def exit_map(pieces: Sequence[Sequence[str]], certainty_LxT: np.ndarray) -> bytes:
  """Returns a PNG of what every layer says at every position: a row a layer.

  Bold is what the last layer says, from the layer on from which it stays; the darker
  the ground (by the root of the probability), the surer the layer.

  Args:
    pieces: [layer][position], the predictions in letters.
    certainty_LxT: [layer, position], their probabilities.
  """
  count, length = certainty_LxT.shape
  words = [[piece.strip() or "␣" for piece in row] for row in pieces]
  widths = [
    max(max(len(row[place]) for row in words), 3) * _LETTER + 0.12
    for place in range(length)
  ]
  edges = np.concatenate([[0.0], np.cumsum(widths)])
  figure = Figure(figsize=(edges[-1] + 0.9, count * _ROW + 0.1), layout="constrained")
  axes = figure.subplots()
  for layer in range(count):
    for place in range(length):
      settled = all(row[place] == words[-1][place] for row in words[layer:])
      corner = edges[place], count - 1 - layer
      colour = colormaps["Blues"](0.75 * float(certainty_LxT[layer, place]) ** 0.5)
      axes.add_patch(Rectangle(corner, widths[place], 1, color=colour, linewidth=0))
      axes.text(
        corner[0] + widths[place] / 2,
        corner[1] + 0.5,
        words[layer][place],
        ha="center",
        va="center",
        fontsize=9,
        fontweight="bold" if settled else "normal",
        color="#111111" if settled else "#777777",
      )
  axes.set_xlim(0, edges[-1])
  axes.set_ylim(0, count)
  axes.set_xticks([])
  axes.set_yticks(
    np.arange(count) + 0.5, [f"layer {layer}" for layer in range(count, 0, -1)]
  )
  axes.tick_params(length=0)
  axes.spines[:].set_visible(False)
  return _png(figure)


def _png(figure: Figure) -> bytes:
  file = io.BytesIO()
  figure.savefig(file, format="png", dpi=110)
  return file.getvalue()
