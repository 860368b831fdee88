# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Docstrings of Python source files, read with `ast`; nothing is imported or run.

`pydocs` runs several processes of this file to read many files: a list of [module,
path] as JSON on standard input, a list of docstrings as JSON on standard output. It
imports the standard library only, so it starts in a few milliseconds, and unlike a
process pool it doesn't run the caller's main module again.
"""

import ast
import gc
import json
import pathlib
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple

# Larger files are generated tables.
MAX_FILE_BYTES = 2**20

# A docstring is kept if it has at least this many words and if at least these shares of
# its visible characters are ASCII letters and ASCII: mostly English prose rather than a
# table, a stub, or another language.
MIN_WORDS = 3
MIN_LETTER_SHARE = 0.5
MIN_ASCII_SHARE = 0.97

# Longer lists of arguments or base classes in a signature are cut.
MAX_ARGUMENTS = 12

_DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_WITH_BLOCKS = (
  *_DEFINITIONS,
  *(ast.If, ast.For, ast.While, ast.With, ast.Try, ast.ExceptHandler),
  *(ast.AsyncFor, ast.AsyncWith, ast.TryStar, ast.Match, ast.match_case),
)
# The fields that hold nested statements, in reverse source order.
_BLOCKS = ("finalbody", "orelse", "handlers", "cases", "body")


class Docstring(NamedTuple):
  """One docstring and what it documents.

  Attributes:
    module: dotted name, such as `json.decoder`.
    name: qualified name inside the module, such as `JSONDecoder.decode`; empty for the
      docstring of the module itself.
    signature: one line: `module json.decoder`, `class JSONDecoder(object)` or
      `def decode(s, _w)`, without annotations and defaults.
    text: the docstring without its indentation.
  """

  module: str
  name: str
  signature: str
  text: str


def read_docstrings(module: str, source: bytes) -> list[Docstring]:
  """Returns the docstrings of a module in source order; none if it can't be parsed."""
  if len(source) > MAX_FILE_BYTES or (b'"""' not in source and b"'''" not in source):
    return []
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # about invalid escapes in strings
      tree = ast.parse(source)
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    return []
  docstrings = []
  for node, name, signature in _documented(tree, module):
    # An escape in a string can make a lone surrogate, which UTF-8 can't represent.
    text = (ast.get_docstring(node) or "").encode("utf-8", "replace").decode().strip()
    if text and _is_prose(text):
      docstrings.append(Docstring(module, name, signature, text))
  return docstrings


def _documented(tree: ast.Module, module: str) -> Iterator[tuple[ast.AST, str, str]]:
  """Yields (node, qualified name, signature) of a module, its classes and functions."""
  yield tree, "", f"module {module}"
  # Not recursive: long chains of elif nest deeper than Python's recursion limit.
  stack = [(child, "", False) for child in reversed(tree.body)]
  while stack:
    node, scope, in_class = stack.pop()
    if isinstance(node, _DEFINITIONS):
      name = f"{scope}{node.name}"
      yield node, name, _signature(node, in_class)
      scope, in_class = f"{name}.", isinstance(node, ast.ClassDef)
    for block in _BLOCKS:
      for child in reversed(getattr(node, block, ())):
        if isinstance(child, _WITH_BLOCKS):
          stack.append((child, scope, in_class))


def _signature(node: ast.AST, in_class: bool) -> str:
  if isinstance(node, ast.ClassDef):
    bases = [ast.unparse(base) for base in node.bases]
    parts = [base.split("[")[0] for base in bases if len(base) < 80]
    return f"class {node.name}({_join(parts)})" if parts else f"class {node.name}"
  arguments = node.args
  parts = [a.arg for a in arguments.posonlyargs + arguments.args]
  if in_class and parts and parts[0] in ("self", "cls", "mcs"):
    parts = parts[1:]
  if arguments.vararg:
    parts.append(f"*{arguments.vararg.arg}")
  parts += [a.arg for a in arguments.kwonlyargs]
  if arguments.kwarg:
    parts.append(f"**{arguments.kwarg.arg}")
  keyword = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
  return f"{keyword} {node.name}({_join(parts)})"


def _join(parts: list[str]) -> str:
  shown = parts[:MAX_ARGUMENTS]
  return ", ".join([*shown, "..."] if len(parts) > len(shown) else shown)


def _is_prose(text: str) -> bool:
  visible = "".join(text.split())
  letters = len(re.findall("[A-Za-z]", visible))
  ascii_count = len(visible.encode("ascii", "ignore"))
  return (
    len(re.findall(r"[A-Za-z]{2,}", text)) >= MIN_WORDS
    and letters >= MIN_LETTER_SHARE * len(visible)
    and ascii_count >= MIN_ASCII_SHARE * len(visible)
  )


def read_files(files: Iterable[tuple[str, str]]) -> list[Docstring]:
  """Returns the docstrings of (module, path)s, in order; none of unreadable files."""
  docstrings = []
  for module, path in files:
    try:
      source = pathlib.Path(path).read_bytes()
    except OSError:
      continue
    docstrings += read_docstrings(module, source)
  return docstrings


def main() -> None:
  gc.disable()  # syntax trees have no cycles, and collecting takes a third of the time
  json.dump(read_files(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
  main()
