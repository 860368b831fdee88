# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Draws README's picture: what every decoder layer predicts for one text.

    python docs/images/draw_exit_map.py W/finetune 'def max()' map.png

The arguments are an evaluated run, the beginning of one of its sources, and the
picture. A prediction is coloured from the layer on after which it no longer changes.
"""

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import elmer_jax

_TINTS = ("#deeaf3", "#f9ecc4", "#f6bea0")  # of layers, from the first to the last
_LETTER, _ROW = 0.088, 0.32  # inches


def main(run: str, beginning: str, picture: str) -> None:
  [path] = (Path(run) / "evaluation").glob("*predictions.jsonl")
  sources = (json.loads(line)["source"] for line in path.open(encoding="utf-8"))
  source = next(text for text in sources if text.startswith(beginning))
  model = elmer_jax.load(run)
  [result] = elmer_jax.generate(model, [source], remove_repeats=False)
  pieces = [model.vocabulary.pieces(ids) for ids in result.by_layer]
  _draw(pieces).savefig(picture, dpi=120)


def _draw(pieces: list[list[str]]) -> Figure:
  words = np.array([[piece.strip() or "␣" for piece in row] for row in pieces])
  layers, length = words.shape
  widths = [max(map(len, words[:, t])) * _LETTER + 0.22 for t in range(length)]
  edges = np.cumsum([0.0, *widths])
  figure = Figure(figsize=(edges[-1] + 0.8, layers * _ROW + 0.1), layout="constrained")
  axes = figure.subplots()
  for t in range(length):
    changes = np.flatnonzero(words[1:, t] != words[:-1, t])
    stable = changes[-1] + 1 if changes.size else 0
    for layer in range(layers):
      is_stable = layer >= stable
      tint = _TINTS[stable * (len(_TINTS) - 1) // max(layers - 1, 1)]
      corner = edges[t], layers - 1 - layer
      colour = tint if is_stable else "white"
      axes.add_patch(Rectangle(corner, widths[t], 1, facecolor=colour, edgecolor="w"))
      axes.text(
        corner[0] + widths[t] / 2,
        corner[1] + 0.46,
        words[layer, t],
        ha="center",
        va="center",
        fontsize=9.5,
        color="#111111" if is_stable else "#8a8a8a",
      )
  axes.set_xlim(0, edges[-1])
  axes.set_ylim(0, layers)
  axes.set_xticks([])
  axes.set_yticks(np.arange(layers) + 0.5, [f"layer {n}" for n in range(layers, 0, -1)])
  axes.tick_params(length=0)
  axes.spines[:].set_visible(False)
  return figure


if __name__ == "__main__":
  main(*sys.argv[1:])
