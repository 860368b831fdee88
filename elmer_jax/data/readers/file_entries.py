# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Entries with named fields: objects of JSON files, rows of tables."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Iterator

from elmer_jax.core.errors import UserError
from elmer_jax.data.readers import text_files
from elmer_jax.data.readers.replacements import ReplacementCounter

_SNIFFED_CHARACTERS = 1024  # searched for the first character that is not white space


@dataclasses.dataclass(frozen=True)
class FileEntry:
  """One entry of a file.

  Attributes:
    path: the file.
    position: where the entry is, for error messages: "line 3".
    fields: values by name.
  """

  path: pathlib.Path
  position: str
  fields: dict

  def error(self, message: str) -> UserError:
    """Returns an error that names the file and the position."""
    return UserError(f"{self.path}, {self.position}: {message}")

  def get(self, name: str, kind: type):
    """Returns a field.

    Raises:
      UserError: the field is missing or not of this type.
    """
    if name not in self.fields:
      names = ", ".join(map(repr, list(self.fields)[:8])) or "none"
      raise self.error(f"no field {name!r} (its fields: {names})")
    if not isinstance(self.fields[name], kind):
      type_name = {str: "string"}.get(kind, kind.__name__)
      raise self.error(f"field {name!r} is not a {type_name}")
    return self.fields[name]


def read_json(paths: Iterable[pathlib.Path]) -> Iterator[FileEntry]:
  """Yields the objects of JSONL files and of JSON files with a list, in order.

  JSONL is streamed; a list is read as a whole. Characters that are not UTF-8 are
  replaced, with a warning after the last file.

  Raises:
    UserError: a file is missing, empty, damaged or of another format.
  """
  replacements = ReplacementCounter()
  for path in paths:
    with text_files.open_text(path) as file:
      is_list = file.read(_SNIFFED_CHARACTERS).lstrip().startswith("[")
    for entry in list_entries(path) if is_list else jsonl_entries(path):
      fields = _clean(entry.fields, path, replacements)
      yield FileEntry(path, entry.position, fields)
  replacements.log_warnings()


def jsonl_entries(path: pathlib.Path, encoding: str = "") -> Iterator[FileEntry]:
  """Yields the objects of a JSONL file.

  Raises:
    UserError: the file can't be read, or a line is not a JSON object.
  """
  for number, line in text_files.numbered_lines(path, encoding):
    if line.isspace():
      continue
    try:
      value = json.loads(line)
    except (ValueError, RecursionError) as error:
      raise UserError(f"{path}, line {number}: not JSON ({error})") from None
    yield _object_entry(path, f"line {number}", value)


def list_entries(path: pathlib.Path, encoding: str = "") -> Iterator[FileEntry]:
  """Yields the objects of a JSON file with a list, which is read as a whole.

  Raises:
    UserError: the file can't be read, or has something else.
  """
  with text_files.open_text(path, encoding) as file:
    try:
      values = json.load(file)
    except (ValueError, RecursionError) as error:
      raise UserError(f"{path}: not JSON ({error})") from None
  for number, value in enumerate(values, start=1):
    yield _object_entry(path, f"entry {number}", value)


def _object_entry(path: pathlib.Path, position: str, value) -> FileEntry:
  if not isinstance(value, dict):
    raise UserError(f"{path}, {position}: not a JSON object")
  return FileEntry(path, position, value)


def _clean(value, path: pathlib.Path, replacements: ReplacementCounter):
  if isinstance(value, str):
    return replacements.clean(value, path)
  if isinstance(value, list):
    return [_clean(item, path, replacements) for item in value]
  if isinstance(value, dict):
    return {name: _clean(item, path, replacements) for name, item in value.items()}
  return value
