# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The exit map: a text with each token coloured by its exit layer."""

import dataclasses
import itertools
from collections.abc import Sequence

from elmer_jax.reports.html_page import element, visible


@dataclasses.dataclass(frozen=True)
class Token:
  """One output position.

  Attributes:
    by_layer: what each decoder layer's off-ramp predicts here.
    exit_layer: the layer, from 1, after which the prediction no longer changes.
  """

  by_layer: tuple[str, ...]
  exit_layer: int

  @property
  def final(self) -> str:
    return self.by_layer[-1]

  @property
  def before(self) -> str | None:
    """The prediction that the exit layer replaced; None if it is the first layer."""
    return self.by_layer[self.exit_layer - 2] if self.exit_layer > 1 else None


def tokens(layers: Sequence[Sequence[str]], exit_layers: Sequence[int]) -> list[Token]:
  """Returns the tokens of a text.

  Args:
    layers: [decoder layer][position], the predictions as printable pieces.
    exit_layers: the layer of each position, from 1, as in `Result.exit_layers`.
  """
  by_position = zip(*layers, strict=True)
  return [Token(*pair) for pair in zip(by_position, exit_layers, strict=True)]


def exit_map(text: Sequence[Token], is_open: bool = False) -> str:
  """Returns the coloured text and, below it, a table of every layer's predictions.

  Above a token that changed is its prediction before the exit layer.

  Args:
    text: the tokens.
    is_open: whether the table is unfolded.
  """
  return coloured(text) + _layer_by_layer(text, is_open)


def coloured(text: Sequence[Token]) -> str:
  """Returns the coloured text alone."""
  return element("p", "".join(map(_token, text)), "map")


def _token(token: Token) -> str:
  history = " → ".join(piece.strip() or "(space)" for piece in token.by_layer)
  attributes = {"title": f"layers 1 to {len(token.by_layer)}: {history}"}
  word = token.final.lstrip(" ")
  space = " " if len(word) < len(token.final) or not word else ""
  css = f"token layer-{token.exit_layer}"
  if token.before is None:
    return space + element("span", visible(word), css, attributes)
  before = element("rt", visible(token.before.strip() or "␣"))
  return space + element("ruby", visible(word or "␣") + before, css, attributes)


def _layer_by_layer(text: Sequence[Token], is_open: bool) -> str:
  """Returns a row per layer; a token is coloured at its exit layer, then faint."""
  if not text:
    return ""
  rows = []
  for layer in range(1, len(text[0].by_layer) + 1):
    runs = itertools.groupby(text, key=lambda token: _state(token, layer))
    line = "".join(
      element("span", visible("".join(t.by_layer[layer - 1] for t in run)), state)
      for state, run in runs
    )
    cells = element("th", f"layer {layer}") + element("td", line.strip())
    rows.append(element("tr", cells))
  table = element("table", "".join(rows), "layers")
  attributes = {"open": ""} if is_open else {}
  inner = element("summary", "layer by layer") + table
  return element("details", inner, attributes=attributes)


def _state(token: Token, layer: int) -> str:
  if layer == token.exit_layer:
    return f"layer-{layer}"
  return "open" if layer < token.exit_layer else "done"


def legend(layers: int, texts: Sequence[Sequence[Token]] = ()) -> str:
  """Returns the key to the colours, with each layer's share of the texts' tokens."""
  shares = exit_shares(texts, layers)
  entries = []
  for layer, share in enumerate(shares, 1):
    swatch = element("span", f"{layer}", f"token layer-{layer}")
    percent = element("span", f" {share:.0%}" if texts else "", "share")
    entries.append(element("li", swatch + percent))
  return element("ul", element("li", "Layer") + "".join(entries), "legend")


def exit_shares(texts: Sequence[Sequence[Token]], layers: int) -> list[float]:
  """Returns the share of all tokens that exit at each layer."""
  exits = [token.exit_layer for text in texts for token in text]
  return [exits.count(layer) / max(len(exits), 1) for layer in range(1, layers + 1)]
