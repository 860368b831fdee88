# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Files of JSON objects, one a line or in one list, as published data sets come.

What `sources` says of compression and of bytes that are not UTF-8 holds here too.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Iterator

from elmer_jax.core.errors import UserError
from elmer_jax.data.readers import documents_and_pairs, text_files

_LOOKED_AT = 1024  # characters, for the first one that is no space


@dataclasses.dataclass(frozen=True)
class Entry:
  """An object of a file, and how to speak of it.

  Attributes:
    path: the file.
    number: its line, or its place in the list, from 1.
    fields: the object.
  """

  path: pathlib.Path
  number: int
  fields: dict

  def error(self, what: str) -> UserError:
    return UserError(f"{self.path}, entry {self.number}: {what}")

  def get(self, name: str, kind: type):
    """Returns a field, which has to be there and of a type."""
    if name not in self.fields:
      names = ", ".join(map(repr, list(self.fields)[:8])) or "none"
      raise self.error(f"no field {name!r} (its fields: {names})")
    if not isinstance(self.fields[name], kind):
      raise self.error(f"field {name!r} is no {kind.__name__}")
    return self.fields[name]


def read_objects(paths: Iterable[pathlib.Path]) -> Iterator[Entry]:
  """The objects of JSONL files and of JSON files that are a list, in order.

  JSONL is streamed; a list is read whole.

  Raises:
    UserError: a file is missing, empty, damaged or something else.
  """
  replaced = documents_and_pairs.Replaced()
  for path in paths:
    with text_files.open_text(path) as file:
      is_list = file.read(_LOOKED_AT).lstrip().startswith("[")
    for number, row in _list(path) if is_list else documents_and_pairs.json_rows(path):
      yield Entry(path, number, _cleaned(row, path, replaced))
  replaced.say()


def _list(path: pathlib.Path) -> Iterator[tuple[int, dict]]:
  with text_files.open_text(path) as file:
    try:
      rows = json.load(file)
    except (ValueError, RecursionError) as error:
      raise UserError(f"{path}: not JSON ({error})") from None
  for number, row in enumerate(rows, start=1):
    if not isinstance(row, dict):
      raise UserError(f"{path}, entry {number}: not a JSON object")
    yield number, row


def _cleaned(value, path: pathlib.Path, replaced: documents_and_pairs.Replaced):
  if isinstance(value, str):
    return replaced.clean(value, path)
  if isinstance(value, list):
    return [_cleaned(part, path, replaced) for part in value]
  if isinstance(value, dict):
    return {name: _cleaned(part, path, replaced) for name, part in value.items()}
  return value
