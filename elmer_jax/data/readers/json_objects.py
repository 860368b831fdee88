# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Files of JSON objects: one object a line (JSONL), or a list, as data sets come."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Iterator

from elmer_jax.core.errors import UserError
from elmer_jax.data.readers import text_files
from elmer_jax.data.readers.replacements import ReplacementCounter

_SNIFFED_CHARACTERS = 1024  # searched for the first character that is not white space


@dataclasses.dataclass(frozen=True)
class JsonObject:
  """An object of a file and its position, for error messages.

  Attributes:
    path: the file.
    number: its line in a JSONL file or its position in a list, from 1.
    fields: the object.
  """

  path: pathlib.Path
  number: int
  fields: dict

  def error(self, message: str) -> UserError:
    """Returns an error that names the file and the object."""
    return UserError(f"{self.path}, entry {self.number}: {message}")

  def get(self, name: str, kind: type):
    """Returns a field.

    Raises:
      UserError: the field is missing or not of this type.
    """
    if name not in self.fields:
      raise self.error(f"no field {name!r} (its fields: {field_names(self.fields)})")
    if not isinstance(self.fields[name], kind):
      raise self.error(f"field {name!r} is not a {kind.__name__}")
    return self.fields[name]


def field_names(row: dict) -> str:
  """Returns the names of the first fields of an object, for error messages."""
  return ", ".join(map(repr, list(row)[:8])) or "none"


def read_objects(paths: Iterable[pathlib.Path]) -> Iterator[JsonObject]:
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
    for number, row in _list_rows(path) if is_list else jsonl_rows(path):
      yield JsonObject(path, number, _clean(row, path, replacements))
  replacements.log_warnings()


def jsonl_rows(path: pathlib.Path) -> Iterator[tuple[int, dict]]:
  """Yields the objects of a JSONL file, each with the number of its line.

  Raises:
    UserError: the file can't be read, or a line is not a JSON object.
  """
  for number, line in text_files.numbered_lines(path):
    if line.isspace():
      continue
    try:
      row = json.loads(line)
    except (ValueError, RecursionError) as error:
      raise UserError(f"{path}, line {number}: not JSON ({error})") from None
    if not isinstance(row, dict):
      raise UserError(f"{path}, line {number}: not a JSON object")
    yield number, row


def _list_rows(path: pathlib.Path) -> Iterator[tuple[int, dict]]:
  with text_files.open_text(path) as file:
    try:
      rows = json.load(file)
    except (ValueError, RecursionError) as error:
      raise UserError(f"{path}: not JSON ({error})") from None
  for number, row in enumerate(rows, start=1):
    if not isinstance(row, dict):
      raise UserError(f"{path}, entry {number}: not a JSON object")
    yield number, row


def _clean(value, path: pathlib.Path, replacements: ReplacementCounter):
  if isinstance(value, str):
    return replacements.clean(value, path)
  if isinstance(value, list):
    return [_clean(item, path, replacements) for item in value]
  if isinstance(value, dict):
    return {name: _clean(item, path, replacements) for name, item in value.items()}
  return value
