# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""METEOR 1.5: finds and runs its Java program.

The program and its English tables come with the package pycocoevalcap, the extra
`meteor`. Exact matches, stems, WordNet synonyms and paraphrases count, with the default
weights for English; both sides are normalised (tokens, punctuation) and in lower case.
"""

import functools
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from absl import logging

_MEMORY = "-Xmx2G"


def meteor(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
  """Returns {"meteor": 0 to 100} over all texts together.

  Where Java or the extra is missing, returns {} and logs one warning.
  """
  program = _program()
  if isinstance(program, str):
    _warn_once(f"METEOR is skipped: {program}")
    return {}
  with tempfile.TemporaryDirectory() as folder:
    paths = [Path(folder, name) for name in ("predictions", "targets")]
    for path, texts in zip(paths, (predictions, targets), strict=True):
      # One text per line: no character that Java reads as a line break may be inside.
      path.write_text(
        "".join(" ".join(text.split()) + "\n" for text in texts), "utf-8", newline="\n"
      )
    command = ["java", _MEMORY, "-Dfile.encoding=UTF-8", "-jar", str(program)]
    command += [*map(str, paths), "-l", "en", "-norm", "-q"]
    done = subprocess.run(
      command, capture_output=True, text=True, check=False, start_new_session=True
    )
  try:
    # With -q: the score of every text, and that of all as the last line.
    return {"meteor": 100 * float(done.stdout.split()[-1])}
  except (IndexError, ValueError):
    reason = (done.stderr.strip().splitlines() or ["it printed nothing"])[0]
    _warn_once(f"METEOR is skipped: its program failed ({reason})")
    return {}


def _program() -> Path | str:
  """Returns the path of the Java program, or a message about what is missing."""
  package = importlib.util.find_spec("pycocoevalcap")
  if package is None:
    return "install the extra `meteor` (pip install pycocoevalcap)"
  program = Path(package.submodule_search_locations[0], "meteor", "meteor-1.5.jar")
  if not program.exists():
    return f"{os.fspath(program)} is missing: install pycocoevalcap again"
  if shutil.which("java") is None:
    return "it needs Java (on Debian and Ubuntu: apt install default-jre-headless)"
  return program


@functools.cache
def _warn_once(message: str) -> None:
  logging.warning("%s", message)
