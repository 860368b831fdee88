# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""HTML by a few functions: escaped text in, a page that needs no other file out."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

Colour = tuple[int, int, int]

# The hues from the first decoder layer to the last: as the tint behind a token and as
# a line in a plot, each on light paper and on dark.
_RAMPS: dict[str, tuple[tuple[Colour, ...], tuple[Colour, ...]]] = {
  "tint": (
    ((222, 234, 243), (249, 236, 196), (246, 190, 160)),
    ((38, 62, 82), (92, 78, 30), (132, 62, 40)),
  ),
  "line": (
    ((70, 130, 176), (196, 158, 44), (196, 82, 58)),
    ((112, 170, 214), (214, 182, 84), (232, 126, 100)),
  ),
}


def escape(text: object) -> str:
  return html.escape(str(text))


def visible(text: str) -> str:
  """Returns text of a sample, escaped: line ends as signs, masks as chips."""
  shown = escape(text).replace("\r", "").replace("\\n", "\n")
  shown = shown.replace("\n", '<span class="sign">↵</span><wbr>')
  return shown.replace("&lt;mask&gt;", '<span class="mask">mask</span>')


def element(
  tag: str,
  inner: str,
  css: str = "",
  attributes: Mapping[str, object] | None = None,
) -> str:
  """Returns one element; `inner` is markup already, attributes are plain text."""
  given = {"class": css} if css else {}
  given |= dict(attributes or {})
  opened = "".join(f' {name}="{escape(value)}"' for name, value in given.items())
  return f"<{tag}{opened}>{inner}</{tag}>"


def section(title: str, *blocks: str) -> str:
  return element("section", element("h2", escape(title)) + "\n".join(blocks)) + "\n"


def paragraph(text: str, css: str = "") -> str:
  return element("p", escape(text), css)


def headline(figures: Sequence[tuple[str, str]]) -> str:
  """Returns large figures side by side: (figure, what it is)."""
  cells = "".join(
    element("div", element("dt", escape(label)) + element("dd", escape(figure)))
    for figure, label in figures
  )
  return element("dl", cells, "headline")


def facts(rows: Mapping[str, Sequence[str]], heads: Sequence[str] = ()) -> str:
  """Returns a table: a name and its values a row, under `heads` if there are any."""

  def line(name: str, cells: Sequence[str], tag: str) -> str:
    inner = "".join(element(tag, escape(cell)) for cell in cells)
    return element("tr", element("th", escape(name)) + inner)

  head = element("thead", line("", heads, "th")) if heads else ""
  body = "".join(line(name, cells, "td") for name, cells in rows.items())
  return element("table", head + element("tbody", body), "facts")


def figure(svg: str, caption: str) -> str:
  return element("figure", svg + element("figcaption", escape(caption)))


def page(title: str, subtitle: str, body: Sequence[str], layers: int) -> str:
  """Returns the whole document, with colours for `layers` decoder layers."""
  style = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
  header = element("header", element("h1", escape(title)) + paragraph(subtitle))
  return (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    f"<title>{escape(title)}</title>\n"
    f"<style>\n{layer_colours(layers)}{style}</style>\n</head>\n<body>\n"
    f"{header}\n<main>\n{''.join(body)}</main>\n</body>\n</html>\n"
  )


def layer_colours(layers: int) -> str:
  """Returns the style rules of `.layer-1` and so on, and their custom properties."""

  def properties(paper: int) -> str:
    return "".join(
      f"--{use}-{layer}:rgb{_between(ramps[paper], (layer - 1) / max(layers - 1, 1))};"
      for use, ramps in _RAMPS.items()
      for layer in range(1, layers + 1)
    )

  rules = "".join(
    f".layer-{layer}{{background:var(--tint-{layer})}}\n"
    for layer in range(1, layers + 1)
  )
  dark = f"@media (prefers-color-scheme:dark){{:root{{{properties(1)}}}}}"
  return f":root{{{properties(0)}}}\n{dark}\n{rules}"


def _between(ramp: Sequence[Colour], where: float) -> Colour:
  """Returns the colour at `where` in 0..1 along evenly spaced stops."""
  place = where * (len(ramp) - 1)
  stop = min(int(place), len(ramp) - 2)
  part = place - stop
  return tuple(
    round(a + (b - a) * part) for a, b in zip(ramp[stop], ramp[stop + 1], strict=True)
  )
