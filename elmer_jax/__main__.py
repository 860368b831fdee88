# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a command of the package: `elmer COMMAND ...` or `python -m elmer_jax`."""

import ast
import difflib
import runpy
import sys
from pathlib import Path

from elmer_jax import __version__

COMMANDS = (
  "prepare",
  "train",
  "evaluate",
  "generate",
  "report",
  "average",
  "distill",
  "calibrate",
  "convert",
  "compare",
  "plan",
)


def main() -> None:
  name = sys.argv[1] if len(sys.argv) > 1 else "--help"
  if name in ("-h", "--help", "help"):
    print(_help())
  elif name == "--version":
    print(f"elmer_jax {__version__}")
  elif name in COMMANDS:
    del sys.argv[1]
    runpy.run_module(f"elmer_jax.{name}", run_name="__main__", alter_sys=True)
  else:
    [near] = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0)
    print(f"error: {name!r} is not a command. Did you mean {near}?", file=sys.stderr)
    sys.exit(2)


def _help() -> str:
  lines = [f"  {name:9}  {_summary(name)}" for name in COMMANDS]
  return "\n".join(
    [
      "usage: elmer COMMAND --name=value ...",
      "",
      *lines,
      "",
      "`elmer COMMAND --help` shows the flags of a command.",
    ]
  )


def _summary(name: str) -> str:
  """Returns the first line of a command's docstring, without importing it."""
  source = Path(__file__).with_name(f"{name}.py").read_text("utf-8")
  return ast.get_docstring(ast.parse(source)).splitlines()[0]


if __name__ == "__main__":
  main()
