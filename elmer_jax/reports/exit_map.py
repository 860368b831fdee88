# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The exit map: a text with each token coloured by its exit layer.

Functions take the predictions as printable pieces, layers[decoder layer][position], and
the exit layer of each position, from 1, as in `Result.exit_layers`.
"""

import collections
import itertools
from collections.abc import Iterable, Sequence

from elmer_jax.reports.html_page import element, visible

Layers = Sequence[Sequence[str]]


def exit_map(layers: Layers, exit_layers: Sequence[int], is_open: bool = False) -> str:
  """Returns the coloured text and, folded unless `is_open`, every layer's text."""
  table = _layer_by_layer(layers, exit_layers, is_open) if exit_layers else ""
  return coloured(layers, exit_layers) + table


def coloured(layers: Layers, exit_layers: Sequence[int]) -> str:
  """Returns the coloured text; the predictions before the exit layer are above it."""
  by_position = zip(zip(*layers, strict=True), exit_layers, strict=True)
  return element("p", "".join(itertools.starmap(_token, by_position)), "map")


def _token(by_layer: Sequence[str], exit_layer: int) -> str:
  history = " → ".join(piece.strip() or "(space)" for piece in by_layer)
  attributes = {"title": f"layers 1 to {len(by_layer)}: {history}"}
  word = by_layer[-1].lstrip(" ")
  space = " " if len(word) < len(by_layer[-1]) or not word else ""
  css = f"token layer-{exit_layer}"
  if exit_layer == 1:
    return space + element("span", visible(word), css, attributes)
  before = element("rt", visible(by_layer[exit_layer - 2].strip() or "␣"))
  return space + element("ruby", visible(word or "␣") + before, css, attributes)


def _layer_by_layer(layers: Layers, exit_layers: Sequence[int], is_open: bool) -> str:
  """Returns a row per layer; a token is coloured at its exit layer, then faint."""
  rows = []
  for layer, pieces in enumerate(layers, 1):
    states = [_state(layer, exit_layer) for exit_layer in exit_layers]
    runs = itertools.groupby(zip(states, pieces, strict=True), key=lambda pair: pair[0])
    line = "".join(
      element("span", visible("".join(piece for _, piece in run)), state)
      for state, run in runs
    )
    cells = element("th", f"layer {layer}") + element("td", line.strip())
    rows.append(element("tr", cells))
  inner = element("summary", "layer by layer")
  inner += element("table", "".join(rows), "layers")
  return element("details", inner, attributes={"open": ""} if is_open else {})


def _state(layer: int, exit_layer: int) -> str:
  if layer == exit_layer:
    return f"layer-{layer}"
  return "open" if layer < exit_layer else "done"


def legend(layers: int, exit_layers: Iterable[int] = ()) -> str:
  """Returns the key to the colours, with each layer's share of the tokens given."""
  counts = collections.Counter(exit_layers)
  entries = ["Layer"]
  for layer in range(1, layers + 1):
    share = f" {counts[layer] / counts.total():.0%}" if counts else ""
    swatch = element("span", f"{layer}", f"token layer-{layer}")
    entries.append(swatch + element("span", share, "share"))
  return element("ul", "".join(element("li", entry) for entry in entries), "legend")
