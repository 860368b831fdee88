# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What a file of the user is: recognised by its content, then by its name.

Parquet    its first bytes
JSON       a list of objects
JSONL      a first line that is a JSON object; the names .jsonl, .ndjson and .json
TSV, CSV   the names .tsv and .csv; for pairs also a first line that names both columns
           or, for TSV, has one tab
text       anything else, for documents alone
"""

import csv
import dataclasses
import enum
import functools
import json
import pathlib
import re
from collections.abc import Sequence
from typing import Literal

from absl import logging

from elmer_jax.core.errors import UserError
from elmer_jax.core.wording import count_of
from elmer_jax.data.readers import text_files

_SNIFFED_CHARACTERS = 2**16
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")

Kind = Literal["lplm", "pairs"]  # documents, or pairs of source and target


@dataclasses.dataclass(frozen=True)
class ReadOptions:
  """How the user's files are to be read.

  Attributes:
    text_field: the field or column of documents.
    source_field: the field or column of a pair's source.
    target_field: the field or column of a pair's target, or of its targets.
    encoding: of text files that are not UTF-8 and have no byte order mark; "" for none.
  """

  text_field: str = "text"
  source_field: str = "source"
  target_field: str = "target"
  encoding: str = ""

  def fields(self, kind: Kind) -> tuple[str, ...]:
    """Returns the fields that entries of this kind must have."""
    if kind == "lplm":
      return (self.text_field,)
    return self.source_field, self.target_field


DEFAULT_OPTIONS = ReadOptions()


class Format(enum.Enum):
  """A format, by its name for people."""

  TEXT = "text"
  JSONL = "JSONL"
  JSON = "JSON"
  TSV = "TSV"
  CSV = "CSV"
  PARQUET = "Parquet"


def recognise(
  path: pathlib.Path, kind: Kind, options: ReadOptions = DEFAULT_OPTIONS
) -> Format:
  """Returns the format of a file.

  Args:
    path: the file.
    kind: "lplm" for documents, "pairs" for pairs.
    options: how to read it.

  Raises:
    UserError: the file can't be read; or it should hold pairs and has no such format.
  """
  if text_files.is_parquet(path):
    return Format.PARQUET
  with text_files.open_text(path, options.encoding) as file:
    start = file.read(_SNIFFED_CHARACTERS).lstrip()
  first_line, _, rest = start.partition("\n")
  suffix = text_files.format_suffix(path)
  if re.match(r"\[\s*\{\s*\"", start):
    return Format.JSON
  if suffix in _JSON_SUFFIXES or _is_object(first_line, is_whole=bool(rest)):
    return Format.JSONL
  if suffix in (".tsv", ".csv"):
    return Format.TSV if suffix == ".tsv" else Format.CSV
  if kind == "lplm":
    return Format.TEXT
  fields = options.fields(kind)
  wanted = {field.lower() for field in fields}
  for form, separator in ((Format.TSV, "\t"), (Format.CSV, ","), (Format.CSV, ";")):
    columns = next(csv.reader([first_line], delimiter=separator), [])
    if wanted <= {name.strip().lower() for name in columns}:
      return form
  if first_line.count("\t") == 1:
    return Format.TSV
  raise UserError(
    f"{path} holds no pairs: they are read from JSONL, JSON, TSV, CSV and Parquet "
    f"files, with the fields {' and '.join(fields)}"
  )


def _is_object(line: str, is_whole: bool) -> bool:
  """Tells whether a line, or the start of a very long one, is a JSON object."""
  try:
    return isinstance(json.loads(line), dict)
  except (ValueError, RecursionError):
    return not is_whole and re.match(r'\{\s*"', line) is not None


def log_formats(
  paths: Sequence[pathlib.Path], kind: Kind, options: ReadOptions
) -> None:
  """Logs in one line, once a process, what files are read as.

  Raises:
    UserError: as `recognise`.
  """
  found: dict[str, list[pathlib.Path]] = {}
  for path in paths:
    form = recognise(path, kind, options)
    name = form.value
    if form is not Format.PARQUET:
      name += f" in {text_files.encoding_of(path, options.encoding)}"
    found.setdefault(name, []).append(path)
  parts = []
  for name, group in found.items():
    names = group[0].name + ", …" * (len(group) > 1)
    parts.append(f"{count_of(len(group), 'file')} ({names}) as {name}")
  _log_once(f"reading {'; '.join(parts)}")


@functools.cache
def _log_once(message: str) -> None:
  logging.info("%s", message)
