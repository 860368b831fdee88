# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The documents of the repository, their code blocks, and a folder to run these in.

A block runs unless a comment on the line before it says what it needs:
`<!-- test: needs=data -->` (data sets), `long` (a full run), or `gcloud`.
"""

import dataclasses
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
  ROOT / "README.md",
  ROOT / "WORKSPACE.md",
  ROOT / "CONTRIBUTING.md",
  ROOT / "CHANGELOG.md",
  *sorted((ROOT / "docs").rglob("*.md")),
  *sorted((ROOT / "benchmarks").glob("*.md")),
)
NEEDS = ("data", "long", "gcloud")

_BLOCK = re.compile(
  r"^(?:<!-- test: needs=(?P<needs>\w+) -->\n)?"
  r"^```(?P<language>\w*)\n(?P<code>.*?)^```$",
  re.MULTILINE | re.DOTALL,
)

# Appended to every command that starts a run: two steps of a tiny model.
_RUN = {
  "data.batch_size": 4,
  "data.num_workers": 1,
  "data.source_length": 32,
  "data.target_length": 16,
  "train.steps": 2,
  "train.eval_batches": 1,
  "checkpoint.every": 1,
}
_SIZES = {
  "model.encoder_layers": 1,
  "model.decoder_layers": 2,
  "model.d_model": 32,
  "model.encoder_feed_forward": 32,
  "model.decoder_feed_forward": 32,
}


@dataclasses.dataclass(frozen=True)
class Block:
  """A fenced block; `needs` is empty if it can run anywhere."""

  path: Path
  line: int
  language: str
  needs: str
  code: str

  def __str__(self) -> str:
    return f"{self.path.relative_to(ROOT)}:{self.line}"


def blocks(path: Path) -> list[Block]:
  """Returns all fenced blocks of a document, in order."""
  text = path.read_text(encoding="utf-8")
  return [
    Block(
      path,
      text.count("\n", 0, match.start("code")),
      match["language"],
      match["needs"] or "",
      match["code"],
    )
    for match in _BLOCK.finditer(text)
  ]


def runnable(path: Path, language: str) -> list[Block]:
  """Returns the blocks of one language that need nothing."""
  return [b for b in blocks(path) if b.language == language and not b.needs]


def make_workspace(folder: Path) -> dict[str, str]:
  """Makes a folder that looks like an installed clone; returns the environment.

  `python` there is the interpreter of the tests; `train`, `prepare` and `plan` with
  `--config` get small sizes, and the launch scripts install nothing.
  """
  (folder / "bin").mkdir()
  run, sizes = (_flags(values) for values in (_RUN, _SIZES))
  _script(
    folder / "bin" / "python",
    'small=""',
    f'[[ "$*" == *--config=* ]] && small="{run}"',
    f'[[ -n $small && "$*" != *--config.init_from=* ]] && small+=" {sizes}"',
    f'exec {sys.executable} "$@" $small',
  )
  _script(folder / "bin" / "elmer", 'exec python -m "elmer_jax.$1" "${@:2}"')
  for name in ("configs", "benchmarks", "docs"):
    (folder / name).symlink_to(ROOT / name)
  shutil.copytree(ROOT / "launch", folder / "launch")
  _script(folder / "launch" / "install.sh", f"echo {folder}/bin/python")
  (folder / ".venv" / "bin").mkdir(parents=True)
  (folder / ".venv" / "bin" / "activate").write_text(f'PATH="{folder}/bin:$PATH"\n')
  return {
    **os.environ,
    "PATH": f"{folder}/bin:{os.environ['PATH']}",
    "PYTHONPATH": str(ROOT),
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # One device, and programs that are compiled fast rather than run fast.
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
  }


def python_script(found: Sequence[Block]) -> str:
  """Returns a program that runs blocks one after another, each with its own names."""
  lines = ["def run(name, code):", "  print('block', name, flush=True)"]
  lines += ["  exec(compile(code, name, 'exec'), {})"]
  lines += [f"run({str(block)!r}, {block.code!r})" for block in found]
  return "\n".join(lines) + "\n"


def _flags(values: dict[str, int]) -> str:
  return " ".join(f"--config.{key}={value}" for key, value in values.items())


def _script(path: Path, *lines: str) -> None:
  path.write_text("\n".join(["#!/usr/bin/env bash", *lines]) + "\n")
  path.chmod(0o755)
