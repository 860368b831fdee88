# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The exit map: a text with each token coloured by the layer that settled it."""

import dataclasses
import itertools
from collections.abc import Sequence

from elmer_jax.reports.html_page import element, escape, visible


@dataclasses.dataclass(frozen=True)
class Token:
  """One output position.

  Attributes:
    by_layer: what each decoder layer's off-ramp predicts here.
    settled: the first layer, from 1, from which on the prediction stays the same.
  """

  by_layer: tuple[str, ...]
  settled: int

  @property
  def final(self) -> str:
    return self.by_layer[-1]

  @property
  def before(self) -> str | None:
    """The prediction that the settling layer replaced; None if it was the first."""
    return self.by_layer[self.settled - 2] if self.settled > 1 else None


def tokens(layers: Sequence[Sequence[str]], exit_layers: Sequence[int]) -> list[Token]:
  """Returns the tokens of a text.

  Args:
    layers: [decoder layer][position], the printable predictions.
    exit_layers: the 0-based layer of each position from which on its prediction stays,
      as `decoding.one_pass.last_change` tells it.
  """
  return [
    Token(by_layer, settled + 1)
    for by_layer, settled in zip(zip(*layers, strict=True), exit_layers, strict=True)
  ]


def coloured(text: Sequence[Token]) -> str:
  """Returns the text in colours; above a changed token stands what it was before."""
  return element("p", "".join(map(_token, text)), "map")


def _token(token: Token) -> str:
  history = " → ".join(piece.strip() or "(space)" for piece in token.by_layer)
  attributes = {"title": f"layers 1 to {len(token.by_layer)}: {history}"}
  word = token.final.lstrip(" ")
  space = " " if len(word) < len(token.final) or not word else ""
  css = f"token layer-{token.settled}"
  if token.before is None:
    return space + element("span", visible(word), css, attributes)
  before = element("rt", visible(token.before.strip() or "␣"))
  return space + element("ruby", visible(word or "␣") + before, css, attributes)


def layer_by_layer(text: Sequence[Token]) -> str:
  """Returns a folded table: a row a layer, bright where it settles a token."""
  if not text:
    return ""
  rows = []
  for layer in range(1, len(text[0].by_layer) + 1):
    runs = itertools.groupby(text, key=lambda token: _state(token, layer))
    line = "".join(
      element("span", visible("".join(t.by_layer[layer - 1] for t in run)), state)
      for state, run in runs
    )
    rows.append(
      element("tr", element("th", f"layer {layer}") + element("td", line.strip()))
    )
  table = element("table", "".join(rows), "layers")
  return element("details", element("summary", "layer by layer") + table)


def _state(token: Token, layer: int) -> str:
  if layer == token.settled:
    return f"layer-{layer}"
  return "open" if layer < token.settled else "done"


def legend(layers: int, shares: Sequence[float] | None = None) -> str:
  """Returns the key to the colours, with each layer's share of tokens if given."""
  entries = []
  for layer in range(1, layers + 1):
    share = f" {shares[layer - 1]:.0%}" if shares else ""
    swatch = element("span", f"{layer}", f"token layer-{layer}")
    entries.append(element("li", swatch + element("span", escape(share), "share")))
  return element("ul", element("li", "Layer") + "".join(entries), "legend")


def shares(texts: Sequence[Sequence[Token]], layers: int) -> list[float]:
  """Returns the share of tokens, over all texts, that each layer settled."""
  settled = [token.settled for text in texts for token in text]
  return [settled.count(layer) / max(len(settled), 1) for layer in range(1, layers + 1)]
