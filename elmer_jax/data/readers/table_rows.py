# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of TSV, CSV and Parquet files as entries with named fields."""

import csv
import functools
import pathlib
import re
from collections.abc import Iterator, Sequence

from absl import logging

from elmer_jax.core.errors import UserError
from elmer_jax.data.readers import text_files
from elmer_jax.data.readers.file_entries import FileEntry

# A cell that looks like the name of a column: "question", "target_text".
_NAME = re.compile(r"[A-Za-z]\w{2,}")


def tsv_entries(
  path: pathlib.Path, fields: Sequence[str], encoding: str = ""
) -> Iterator[FileEntry]:
  """Yields the rows of a file with columns separated by tabs, without quotes.

  A first line that names all `fields` is a header; other columns are ignored. Without a
  header there must be exactly as many columns as fields.

  Raises:
    UserError: the file can't be read, or a row has another number of columns.
  """
  rows = (
    (number, line.rstrip("\n").split("\t"))
    for number, line in text_files.numbered_lines(path, encoding)
    if not line.isspace()
  )
  return _entries(path, fields, rows)


def csv_entries(
  path: pathlib.Path, fields: Sequence[str], encoding: str = ""
) -> Iterator[FileEntry]:
  """Yields the rows of a file with columns separated by commas, or by semicolons.

  Cells may be quoted and then hold line breaks. The header is that of `tsv_entries`.

  Raises:
    UserError: as `tsv_entries`.
  """

  def rows() -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(text_files.LINE_CHARACTERS)
    with text_files.open_text(path, encoding) as file:
      first_line = file.readline(text_files.LINE_CHARACTERS)
    separator = ";" if ";" in first_line and "," not in first_line else ","
    with text_files.open_text(path, encoding) as file:
      reader = csv.reader(file, delimiter=separator, strict=True)
      try:
        for row in reader:
          if row:
            yield reader.line_num, row
      except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not CSV ({error})") from None

  return _entries(path, fields, rows())


def _entries(
  path: pathlib.Path, fields: Sequence[str], rows: Iterator[tuple[int, list[str]]]
) -> Iterator[FileEntry]:
  names = None
  for number, cells in rows:
    if names is None:
      names = _header(path, fields, cells)
      if names:
        continue
      names = list(fields)
      _warn_of_names(path, number, cells)
    if len(cells) != len(names):
      expected = f"{len(names)} are expected ({', '.join(names)})"
      raise UserError(f"{path}, line {number}: {len(cells)} columns; {expected}")
    yield FileEntry(path, f"line {number}", dict(zip(names, cells, strict=True)))


def _header(
  path: pathlib.Path, fields: Sequence[str], cells: Sequence[str]
) -> list[str] | None:
  """Returns the names of the columns if the first row has them, None if it is data.

  Raises:
    UserError: it has neither the names nor as many columns as fields.
  """
  by_lower = {field.lower(): field for field in fields}
  names = [by_lower.get(cell.strip().lower(), cell.strip()) for cell in cells]
  if set(fields) <= set(names):
    return names
  is_default = tuple(fields) in (("source", "target"), ("text",))
  if is_default and len(cells) == len(fields) > 1:
    return None
  missing = ", ".join(field for field in fields if field not in names)
  raise UserError(
    f"{path}: no column {missing}; its columns are {', '.join(names)[:200]}. "
    "data.source_field, data.target_field and data.text_field name others"
  )


def _warn_of_names(path: pathlib.Path, number: int, cells: Sequence[str]) -> None:
  if all(_NAME.fullmatch(cell.strip()) for cell in cells):
    _warn_once(
      f"{path}, line {number}: {' and '.join(cells)} are taken for a pair. If they "
      "name the columns, set data.source_field and data.target_field"
    )


@functools.cache
def _warn_once(message: str) -> None:
  logging.warning("%s", message)


def parquet_entries(path: pathlib.Path, fields: Sequence[str]) -> Iterator[FileEntry]:
  """Yields the rows of a Parquet file, with the columns `fields` alone.

  Raises:
    UserError: pyarrow is missing, the file is damaged, or it lacks a column.
  """
  try:
    import pyarrow
    from pyarrow import parquet
  except ImportError:
    raise UserError(
      f"{path}: Parquet files are read with pyarrow, which is missing: pip install "
      "pyarrow"
    ) from None
  try:
    with parquet.ParquetFile(path) as file:
      names = file.schema_arrow.names
      missing = [field for field in fields if field not in names]
      if missing:
        raise UserError(
          f"{path}: no column {', '.join(missing)}; its columns are {', '.join(names)}"
          ". data.source_field, data.target_field and data.text_field name others"
        )
      number = 0
      for batch in file.iter_batches(batch_size=1024, columns=list(fields)):
        for row in batch.to_pylist():
          number += 1
          yield FileEntry(path, f"row {number}", row)
  except pyarrow.ArrowException as error:
    reason = str(error).splitlines()[0]
    raise UserError(f"{path} is damaged or not Parquet: {reason}") from None
