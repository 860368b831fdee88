# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The input of `generate`: lines of text, or JSON objects with a source and more."""

import collections
import json
from collections.abc import Iterator
from typing import TextIO

from elmer_jax.core.errors import UserError
from elmer_jax.data.readers.text_files import LINE_CHARACTERS

JSON_SUFFIXES = (".jsonl", ".ndjson")


class SourceLines:
  """Reads sources, and remembers the fields of each until its text is generated."""

  def __init__(self, file: TextIO, name: str, source_field: str | None):
    """Reads nothing yet.

    Args:
      file: the input.
      name: of the input, for error messages.
      source_field: the field of JSON objects, one a line, that has the source; None for
        lines of text.
    """
    self._file, self._name, self._field = file, name, source_field
    self._waiting: collections.deque[dict] = collections.deque()

  def texts(self) -> Iterator[str]:
    """Yields the sources, stripped.

    Raises:
      UserError: a line is not a JSON object with a source, or does not end.
    """
    lines = iter(lambda: self._file.readline(LINE_CHARACTERS), "")
    for number, line in enumerate(lines, 1):
      if len(line) == LINE_CHARACTERS and not line.endswith("\n"):
        raise UserError(
          f"{self._name}, line {number}: longer than {LINE_CHARACTERS} characters"
        )
      if self._field is None:
        fields, text = {"source": line.strip()}, line
      elif line.isspace():
        continue
      else:
        fields = self._parse(line, number)
        text = fields[self._field]
      self._waiting.append(fields)
      yield text.strip()

  def next_fields(self) -> dict:
    """Returns the fields of the first source for which this was not called yet."""
    return self._waiting.popleft()

  def _parse(self, line: str, number: int) -> dict:
    try:
      fields = json.loads(line)
    except (ValueError, RecursionError) as error:
      raise UserError(f"{self._name}, line {number}: not JSON ({error})") from None
    if not isinstance(fields, dict):
      raise UserError(f"{self._name}, line {number}: not a JSON object")
    if not isinstance(fields.get(self._field), str):
      names = ", ".join(map(repr, list(fields)[:8])) or "none"
      raise UserError(
        f"{self._name}, line {number}: no text in field {self._field!r} (its fields: "
        f"{names}); --source_field names another"
      )
    return fields
