# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Functions that build HTML: a page or a fragment that needs no other file."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

# Each colour on light paper and on dark.
_COLOURS = {
  "paper": ("#fdfcfa", "#16191c"),
  "panel": ("#f5f2ec", "#1f2327"),
  "ink": ("#23272c", "#dfdcd5"),
  "faint": ("#787b7e", "#93959a"),
  "rule": ("#dedad2", "#363b40"),
  "accent": ("#2b5c8a", "#85b6e2"),
  "failure": ("#a8321f", "#f0907c"),
}
# Stops of the hues from the first decoder layer to the last: a token's background and a
# line in a plot, on light paper and on dark.
_RAMPS = {
  "tint": (
    ((222, 234, 243), (249, 236, 196), (246, 190, 160)),
    ((38, 62, 82), (92, 78, 30), (132, 62, 40)),
  ),
  "line": (
    ((70, 130, 176), (196, 158, 44), (196, 82, 58)),
    ((112, 170, 214), (214, 182, 84), (232, 126, 100)),
  ),
}


def colours(layers: int, dark: bool = False) -> dict[str, str]:
  """Returns "#rrggbb" by name, also of "tint-1", "line-1" … for each decoder layer."""
  found = {name: values[dark] for name, values in _COLOURS.items()}
  for use, ramps in _RAMPS.items():
    for layer in range(1, layers + 1):
      place = (layer - 1) / max(layers - 1, 1)
      found[f"{use}-{layer}"] = _interpolate(ramps[dark], place)
  return found


def _interpolate(ramp: Sequence[tuple[int, int, int]], place: float) -> str:
  """Returns the colour at `place`, 0 to 1, along evenly spaced stops."""
  position = place * (len(ramp) - 1)
  stop = min(int(position), len(ramp) - 2)
  pairs = zip(ramp[stop], ramp[stop + 1], strict=True)
  return "#" + "".join(
    f"{round(a + (b - a) * (position - stop)):02x}" for a, b in pairs
  )


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
  """Returns one element; `inner` is markup, attribute values are plain text."""
  given = ({"class": css} if css else {}) | dict(attributes or {})
  opened = "".join(f' {name}="{escape(value)}"' for name, value in given.items())
  return f"<{tag}{opened}>{inner}</{tag}>"


def section(title: str, *blocks: str) -> str:
  return element("section", element("h2", escape(title)) + "\n".join(blocks)) + "\n"


def paragraph(text: str, css: str = "") -> str:
  return element("p", escape(text), css)


def headline(figures: Sequence[tuple[str, str, bool]]) -> str:
  """Returns large figures side by side: (figure, label, whether it is a success)."""
  cells = "".join(
    element(
      "div",
      element("dt", escape(label)) + element("dd", escape(figure)),
      "" if success else "failure",
    )
    for figure, label, success in figures
  )
  return element("dl", cells, "headline")


def table(
  heads: Sequence[str],
  rows: Sequence[Sequence[str]],
  css: str,
  row_css: Mapping[int, str] | None = None,
) -> str:
  """Returns a table of plain text; the first cell of a row is its heading.

  Args:
    heads: of the columns; empty for a table without.
    rows: cells.
    css: class of the table.
    row_css: class of a row, by its index.
  """

  def line(cells: Sequence[str], tag: str, css: str = "") -> str:
    tags = ["th", *[tag] * (len(cells) - 1)]
    inner = (element(t, escape(cell)) for t, cell in zip(tags, cells, strict=True))
    return element("tr", "".join(inner), css)

  classes = row_css or {}
  body = "".join(line(row, "td", classes.get(i, "")) for i, row in enumerate(rows))
  head = element("thead", line(heads, "th")) if heads else ""
  return element("table", head + element("tbody", body), css)


def by_width(wide: str, narrow: str) -> str:
  """Returns markup of which a page shows one part, by the width of the screen."""
  return element("div", wide, "on-wide") + element("div", narrow, "on-narrow")


def figure(svg: str, caption: str) -> str:
  return element("figure", svg + element("figcaption", escape(caption)))


def sample(rows: Sequence[tuple[str, str]], more: str = "") -> str:
  """Returns an example: rows of (label, markup of a text), then other markup."""
  lines = (element("h3", label) + element("div", text) for label, text in rows)
  return element("article", "".join(lines) + more, "sample")


def page(title: str, subtitle: str, body: Sequence[str], layers: int) -> str:
  """Returns the whole document, with colours for `layers` decoder layers.

  `title` is plain text; `subtitle` and `body` are markup.
  """
  header = element("header", element("h1", escape(title)) + subtitle)
  dark = _properties(colours(layers, dark=True))
  style = (
    f":root{{{_properties(colours(layers))}}}\n"
    f"@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
    f"{_layer_rules(layers)}{_style('report.css')}{_style('exit_map.css')}"
  )
  return (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    f"<title>{escape(title)}</title>\n"
    f"<style>\n{style}</style>\n</head>\n<body>\n"
    f"{header}\n<main>\n{''.join(body)}</main>\n</body>\n</html>\n"
  )


def notebook_fragment(body: str, layers: int) -> str:
  """Returns `body` with the styles of exit maps, which affect nothing around it.

  Always in the light colours: notebooks have themes of their own.
  """
  style = (
    f"{_properties(colours(layers))}\n"
    "padding:0.5rem 1rem;background:var(--paper);color:var(--ink);"
    "font:0.9rem/1.55 system-ui,sans-serif;\n"
    f"{_layer_rules(layers)}{_style('exit_map.css')}"
  )
  return f"<style>.elmer-jax{{{style}}}</style>" + element("div", body, "elmer-jax")


def _properties(values: Mapping[str, str]) -> str:
  return "".join(f"--{name}:{value};" for name, value in values.items())


def _layer_rules(layers: int) -> str:
  numbers = range(1, layers + 1)
  return "".join(f".layer-{n}{{background:var(--tint-{n})}}\n" for n in numbers)


def _style(name: str) -> str:
  return (Path(__file__).parent / name).read_text(encoding="utf-8")
