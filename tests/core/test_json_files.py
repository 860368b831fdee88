# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever a JSON file holds: an object with its fields, or one line with its name."""

import json
import os

import pytest

from elmer_jax.core import json_files
from elmer_jax.core.errors import UserError

FIELDS = {"name": str, "count": int, "share": float, "parts": list, "whole": bool}
GOOD = {"name": "a", "count": 3, "share": 1, "parts": [], "whole": True, "more": None}


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "not JSON"),
    (b'{"name": ', "not JSON"),
    (b"[" * 100_000, "nested too deep"),
    (b'{"a":' * 100_000, "nested too deep"),
    (b"\xff\xfe{}", "not UTF-8"),
    (b'"text"', "not a JSON object"),
    (b"null", "not a JSON object"),
    (b"9" * 10_000, "not JSON"),
    (b"{}", "name is missing"),
  ],
)
def test_damaged_files_are_named(tmp_path, content, message):
  path = tmp_path / "some.json"
  path.write_bytes(content)
  with pytest.raises(UserError, match=f"some.json is damaged .*{message}.*: delete it"):
    json_files.read_object(path, FIELDS, "delete it")


@pytest.mark.parametrize(
  ("field", "value"),
  [("name", 3), ("count", 2.0), ("count", True), ("share", "1"), ("share", False)]
  + [("parts", {}), ("whole", 1), ("name", None), ("parts", "x" * 100)],
)
def test_a_field_of_another_type_is_named(tmp_path, field, value):
  path = tmp_path / "some.json"
  path.write_text(json.dumps(GOOD | {field: value}))
  with pytest.raises(UserError, match=f"some.json is damaged .{field} is "):
    json_files.read_object(path, FIELDS)


def test_an_object_is_read_with_or_without_a_mark(tmp_path):
  path = tmp_path / "some.json"
  for start in (b"", b"\xef\xbb\xbf"):
    path.write_bytes(start + json.dumps(GOOD).encode())
    assert json_files.read_object(path, FIELDS) == GOOD
  assert json_files.read_object_if_present(tmp_path / "none.json") is None


def test_pipes_folders_and_large_files_are_refused(tmp_path, monkeypatch):
  os.mkfifo(tmp_path / "pipe")
  (tmp_path / "dangling").symlink_to("nowhere")
  for name, message in (
    ("pipe", "is not a regular file"),
    (".", "is not a regular file"),
    ("none", "is missing"),
    ("dangling", "is missing"),
  ):
    with pytest.raises(UserError, match=message):
      json_files.read_object(tmp_path / name)
  monkeypatch.setattr(json_files, "MAX_BYTES", 10)
  (tmp_path / "large").write_text('{"a": "0123456789"}')
  with pytest.raises(UserError, match="large is damaged .more than 10 bytes"):
    json_files.read_object(tmp_path / "large")


def test_lines_without_those_that_are_incomplete(tmp_path):
  path = tmp_path / "lines.jsonl"
  lines = [
    '{"step": 1}',
    "3",
    "[" * 99_999,
    '{"step": "2"}',
    "\0",
    '{"step": 3}',
    '{"s',
  ]
  path.write_text("\n".join(lines))
  found = json_files.read_lines(path, {"step": int})
  assert list(found) == [{"step": 1}, {"step": 3}]
