# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Patterns find each file once, whatever links there are."""

import glob
import os

import pytest

from elmer_jax.core.errors import UserError
from elmer_jax.data.readers.file_patterns import matching_files
from elmer_jax.data.readers.text_files import expand_files


@pytest.fixture
def tree(tmp_path):
  for name in ("a.txt", "b/c.txt", "b/d/e.txt", "b/d/f.json", ".hidden/g.txt"):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("Text.")
  return tmp_path


@pytest.mark.parametrize(
  "pattern",
  ["*.txt", "**/*.txt", "b/**/*", "b/**", "*/**/e.txt", "**/d/**/*.txt", "**/x/*.txt"],
)
def test_patterns_are_those_of_the_shell(tree, pattern, monkeypatch):
  monkeypatch.chdir(tree)
  found = glob.glob(pattern, recursive=True)
  files = {os.path.normpath(path) for path in found if not os.path.isdir(path)}
  assert {os.path.normpath(path) for path in matching_files(pattern)} == files
  absolute = matching_files(f"{tree}/{pattern}")
  assert {os.path.relpath(path, tree) for path in absolute} == files


def test_links_to_a_folder_above_end(tree):
  for name in ("x", "y", "b/z"):
    (tree / name).symlink_to(tree)
  (tree / "b" / "elsewhere").symlink_to(tree / ".hidden")
  found = expand_files(f"{tree}/**/*.txt")
  assert [path.name for path in found] == ["a.txt", "c.txt", "e.txt", "g.txt"]


def test_pipes_and_devices_are_refused(tree):
  os.mkfifo(tree / "pipe.txt")
  for name in (f"{tree}/pipe.txt", f"{tree}/*.txt", "/dev/zero"):
    with pytest.raises(UserError, match="is a pipe or a device"):
      expand_files(name)
  with pytest.raises(UserError, match="data.files=gs://b/a.txt is a URL"):
    expand_files("gs://b/a.txt")
