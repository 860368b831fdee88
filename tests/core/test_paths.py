# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Paths of a user: `~` is expanded, and what is no path is one line."""

import os

import pytest

from elmer_jax.core.errors import UserError
from elmer_jax.core.paths import is_plain_name, local_path


def test_a_home_folder_is_expanded(monkeypatch, tmp_path):
  monkeypatch.setenv("HOME", str(tmp_path))
  assert local_path("~/run", "--workdir") == f"{tmp_path}/run"
  assert local_path(tmp_path / "x", "--workdir") == f"{tmp_path}/x"


@pytest.mark.parametrize(
  ("path", "message"),
  [
    ("", "--output= is empty"),
    ("a\0b", "is not a path"),
    ("a\ud800", "is not a path"),
    ("gs://bucket/run", "--output=gs://bucket/run is a URL"),
    ("s3://bucket/run", "is a URL"),
    ("http://host/run", "is a URL"),
    ("file:///run", "is a URL"),
    ("x" * 5000, "can't be reached: File name too long"),
    (None, "is not a path"),
    (3, "is not a path"),
  ],
)
def test_what_is_no_path_is_refused(path, message):
  with pytest.raises(UserError, match=message):
    local_path(path, "--output")


def test_a_loop_of_links_is_refused(tmp_path):
  os.symlink(tmp_path / "loop", tmp_path / "loop")
  with pytest.raises(UserError, match="can't be reached"):
    local_path(tmp_path / "loop" / "x", "--workdir")


def test_plain_names():
  for name in ("text_lplm", "a b", "...", "model-00001-of-00002.safetensors", "ä"):
    assert is_plain_name(name)
  for name in ("", ".", "..", "../evil", "/etc", "a/b", "a\0", "x" * 300, None, 3):
    assert not is_plain_name(name)
