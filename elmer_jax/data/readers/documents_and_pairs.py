# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The user's own files as documents or as (source, target) pairs.

`file_format` recognises what a file is. Text files may be compressed (`.gz`, `.zst`).
All but JSON lists are streamed, so files may be larger than memory.
"""

import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence

from elmer_jax.core.errors import UserError
from elmer_jax.data.readers import file_format, table_rows
from elmer_jax.data.readers.file_entries import FileEntry, jsonl_entries, list_entries
from elmer_jax.data.readers.file_format import DEFAULT_OPTIONS, Format, ReadOptions
from elmer_jax.data.readers.replacements import ReplacementCounter
from elmer_jax.data.readers.text_files import open_text

# Whether a text file has blank lines between documents, or one document a line, is
# decided by this many characters at its start: a file may be too large to read twice.
LAYOUT_CHARACTERS = 2**20

# A longer document is divided, to bound memory.
DOCUMENT_CHARACTERS = 2**24

_FIELD_HINT = "data.source_field, data.target_field and data.text_field name others"


def read_documents(
  paths: Iterable[str | os.PathLike], options: ReadOptions = DEFAULT_OPTIONS
) -> Iterator[str]:
  """Yields the documents of files, in order, stripped.

  In plain text, documents are separated by blank lines; in a file without blank lines
  every line is a document. A document longer than DOCUMENT_CHARACTERS becomes several.
  Bytes that are not UTF-8 are replaced by U+FFFD and empty documents of other formats
  are skipped, both with one warning after the last file.

  Args:
    paths: files as returned by `expand_files`.
    options: how to read them.

  Raises:
    UserError: a file is missing, empty, damaged or not text, or an entry lacks the
      field with the text; the message has the file and the line.
  """
  replacements = ReplacementCounter()
  for path in map(pathlib.Path, paths):
    form = file_format.recognise(path, "lplm", options)
    if form is Format.TEXT:
      documents = _text_documents(path, options.encoding)
    else:
      entries = _entries(path, form, options.fields("lplm"), options.encoding)
      documents = (_texts(entry, options.text_field)[0] for entry in entries)
    empty = True
    for document in documents:
      for part in _parts(document):
        part = replacements.clean(part, path).strip()
        if part:
          empty = False
          yield part
      if form is not Format.TEXT and (not document or document.isspace()):
        replacements.empty_documents += 1
    if empty:
      raise UserError(f"{path} holds no text")
  replacements.log_warnings()


def read_pairs(
  paths: Iterable[str | os.PathLike], options: ReadOptions = DEFAULT_OPTIONS
) -> Iterator[tuple[str, str]]:
  """Yields the (source, target) pairs of files, in order, stripped.

  A target that is a list gives a pair for each of its texts. Bytes that are not UTF-8
  are replaced as in `read_documents`.

  Args:
    paths: files as returned by `expand_files`.
    options: how to read them.

  Raises:
    UserError: a file is missing, empty, damaged or of another format, or an entry lacks
      its source or target; the message has the file and the line.
  """
  replacements = ReplacementCounter()

  def clean(entry: FileEntry, field: str) -> list[str]:
    texts = [
      replacements.clean(text, entry.path).strip() for text in _texts(entry, field)
    ]
    if not all(texts):
      raise entry.error(f"the {field} is empty")
    return texts

  for path in map(pathlib.Path, paths):
    form = file_format.recognise(path, "pairs", options)
    empty = True
    for entry in _entries(path, form, options.fields("pairs"), options.encoding):
      source, *more = clean(entry, options.source_field)
      if more:
        raise entry.error(f"field {options.source_field!r} is not a string")
      for target in clean(entry, options.target_field):
        empty = False
        yield source, target
    if empty:
      raise UserError(f"{path} holds no pair")
  replacements.log_warnings()


def _entries(
  path: pathlib.Path, form: Format, fields: Sequence[str], encoding: str
) -> Iterator[FileEntry]:
  match form:
    case Format.JSONL:
      return jsonl_entries(path, encoding)
    case Format.JSON:
      return list_entries(path, encoding)
    case Format.TSV:
      return table_rows.tsv_entries(path, fields, encoding)
    case Format.CSV:
      return table_rows.csv_entries(path, fields, encoding)
    case Format.PARQUET:
      return table_rows.parquet_entries(path, fields)
  raise ValueError(f"{form} has no entries")


def _texts(entry: FileEntry, field: str) -> list[str]:
  """Returns the text, or the list of texts, of a field."""
  if field not in entry.fields:
    names = ", ".join(map(repr, list(entry.fields)[:8])) or "none"
    raise entry.error(f"no field {field!r} (its fields: {names}); {_FIELD_HINT}")
  value = entry.fields[field]
  texts = value if isinstance(value, list) and value else [value]
  if not all(isinstance(text, str) for text in texts):
    raise entry.error(f"field {field!r} is not a string")
  return texts


def _text_documents(path: pathlib.Path, encoding: str) -> Iterator[str]:
  with open_text(path, encoding) as file:
    start = file.read(LAYOUT_CHARACTERS)
  has_blank_lines = re.search(r"\n[^\S\n]*\n", start.strip()) is not None
  with open_text(path, encoding) as file:
    # A line longer than DOCUMENT_CHARACTERS is read in parts.
    lines = iter(lambda: file.readline(DOCUMENT_CHARACTERS), "")
    yield from _blocks(lines) if has_blank_lines else lines


def _blocks(lines: Iterator[str]) -> Iterator[str]:
  """Joins the lines between blank lines, up to DOCUMENT_CHARACTERS."""
  block, length = [], 0
  for line in lines:
    is_blank = line.isspace()
    if block and (is_blank or length + len(line) > DOCUMENT_CHARACTERS):
      yield "".join(block)
      block, length = [], 0
    if not is_blank:
      block.append(line)
      length += len(line)
  if block:
    yield "".join(block)


def _parts(document: str) -> Iterator[str]:
  """Divides a document that is too long, if possible after white space."""
  start = 0
  while len(document) - start > DOCUMENT_CHARACTERS:
    end = start + DOCUMENT_CHARACTERS
    cut = max(document.rfind(space, start, end) for space in " \n") + 1 or end
    yield document[start:cut]
    start = cut
  yield document[start:]
