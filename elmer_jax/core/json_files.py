# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Reads JSON that may be damaged or hostile; every problem is one line with its file.

What a file must hold is given as fields: names and types of the values that have to be
there. A whole number is also a `float`, true and false are no numbers.
"""

import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from elmer_jax.core.errors import UserError

MAX_BYTES = 2**26  # 100 times the largest file of a run or of a Hugging Face folder

_KINDS = {
  int: "a whole number",
  float: "a number",
  bool: "true or false",
  str: "a string",
  dict: "an object",
}

Fields = Mapping[str, type]


def read_object(
  path: str | os.PathLike, fields: Fields | None = None, remedy: str = ""
) -> dict:
  """Returns the JSON object in a file.

  Args:
    path: the file.
    fields: that it must have.
    remedy: what to do if it is damaged, for the message.

  Raises:
    UserError: it can't be read, or is not such an object.
  """
  return parse_object(read_text(path, remedy), str(path), fields, remedy)


def read_object_if_present(
  path: str | os.PathLike, fields: Fields | None = None, remedy: str = ""
) -> dict | None:
  """Returns None if the file is missing; otherwise as `read_object`."""
  return read_object(path, fields, remedy) if os.path.lexists(path) else None


def read_lines(path: str | os.PathLike, fields: Fields | None = None) -> Iterator[dict]:
  """Yields the objects of a file with one a line, without damaged lines.

  Those are incomplete: the process that wrote them was killed, or is writing. The file
  itself is read as it is, however long.

  Raises:
    UserError: it can't be read.
  """
  path = _regular_file(path)
  try:
    with path.open(encoding="utf-8", errors="replace") as file:
      while line := file.readline(MAX_BYTES):
        try:
          yield parse_object(line, str(path), fields)
        except UserError:
          continue
  except OSError as error:
    raise UserError(f"{path} can't be read: {error.strerror}") from None


def read_text(path: str | os.PathLike, remedy: str = "") -> str:
  """Returns the text of a file in UTF-8, with or without a byte order mark.

  Raises:
    UserError: it is missing, no regular file, larger than MAX_BYTES, or not UTF-8.
  """
  path = _regular_file(path)
  try:
    with path.open("rb") as file:
      data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
      raise damaged(path, f"more than {MAX_BYTES} bytes", remedy)
    return data.decode("utf-8-sig")
  except UnicodeDecodeError as error:
    raise damaged(path, f"not UTF-8, {error.reason}", remedy) from None
  except OSError as error:
    raise UserError(f"{path} can't be read: {error.strerror}") from None


def parse_object(
  text: str, where: str, fields: Fields | None = None, remedy: str = ""
) -> dict:
  """Returns a JSON object.

  Args:
    text: JSON.
    where: it is from, for the message.
    fields: that it must have.
    remedy: what to do if it is damaged, for the message.

  Raises:
    UserError: it is not such an object.
  """
  try:
    content = json.loads(text)
  except RecursionError:
    raise damaged(where, "nested too deep", remedy) from None
  except ValueError as error:
    place = getattr(error, "lineno", 1)
    raise damaged(where, f"not JSON, see line {place}", remedy) from None
  return check_object(content, where, fields, remedy)


def check_object(
  content: object, where: str, fields: Fields | None = None, remedy: str = ""
) -> dict:
  """Returns `content`; raises `UserError` unless it is an object with these fields."""
  if not isinstance(content, dict):
    raise damaged(where, "not a JSON object", remedy)
  for name, kind in (fields or {}).items():
    if name not in content:
      raise damaged(where, f"{name} is missing", remedy)
    if not is_of(content[name], kind):
      raise damaged(where, f"{name} is {shown(content[name])}", remedy)
  return content


def optional_field(content: Mapping, name: str, kind: type, where: object) -> Any:
  """Returns a field of an object that another program wrote.

  None if it is missing or null; 2.0 is a whole number.

  Raises:
    UserError: the field has another type.
  """
  value = content.get(name)
  if kind is int and isinstance(value, float) and value.is_integer():
    value = int(value)
  if value is None or is_of(value, kind):
    return value
  raise UserError(f"{where}: {name} must be {_KINDS[kind]}; it is {shown(value)}")


def is_of(value: object, kind: type) -> bool:
  """Returns whether a value of JSON has a type."""
  kinds = (int, float) if kind is float else kind
  return isinstance(value, kinds) and (isinstance(value, bool) == (kind is bool))


def damaged(where: str | os.PathLike, reason: str, remedy: str = "") -> UserError:
  """Returns the error for a file with wrong content."""
  return UserError(f"{where} is damaged ({reason}){': ' * bool(remedy)}{remedy}")


def _regular_file(path: str | os.PathLike) -> pathlib.Path:
  path = pathlib.Path(path)
  try:
    if not path.exists():
      raise UserError(f"{path} is missing")
    if not path.is_file():  # reading a pipe could wait for ever
      raise UserError(f"{path} is not a regular file")
  except OSError as error:
    raise UserError(f"{path} can't be read: {error.strerror}") from None
  return path


def shown(value: object) -> str:
  """Returns the start of a value's notation, for a message."""
  text = repr(value)
  return text if len(text) <= 40 else f"{text[:40]}…"
