# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The files that match a pattern of the shell."""

import glob
import os
import re
from collections.abc import Iterator

_ANY_DEPTH = re.compile(r"(?:^|(?<=/))\*\*(?:/|$)")


def matching_files(pattern: str) -> set[str]:
  """Returns the files that match a pattern, in which `**` means folders at any depth.

  `**` follows links but enters every folder once, so that links to a folder above end.
  Hidden folders are left out, as the shell does.
  """
  found = _ANY_DEPTH.search(pattern)
  if found is None:
    return {path for path in glob.glob(pattern) if not os.path.isdir(path)}
  before, after = pattern[: found.start()], pattern[found.end() :] or "*"
  entered: set[tuple[int, int]] = set()
  matches = set()
  for start in sorted(glob.glob(before)) if before else [""]:
    for folder in _folders(start, entered):
      matches |= matching_files(os.path.join(glob.escape(folder), after))
  return matches


def _folders(start: str, entered: set[tuple[int, int]]) -> Iterator[str]:
  """Yields a folder and all below it, without those that were entered already."""
  for folder, names, _ in os.walk(start or ".", followlinks=True):
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in entered:
      names.clear()
      continue
    entered.add((status.st_dev, status.st_ino))
    names[:] = sorted(name for name in names if not name.startswith("."))
    yield folder if start else folder.removeprefix(".").removeprefix("/")
