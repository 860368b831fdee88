# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The user's own files as documents or as (source, target) pairs.

The format follows from the name: `.jsonl` has one JSON object a line, `.tsv` (pairs
only) two columns, anything else is plain text; each may end in `.gz` or `.zst`. Files
are streamed, so they may be larger than memory.
"""

import os
import pathlib
import re
from collections.abc import Iterable, Iterator

from elmer_jax.core.errors import UserError
from elmer_jax.data.readers.file_entries import jsonl_entries, tsv_entries
from elmer_jax.data.readers.replacements import ReplacementCounter
from elmer_jax.data.readers.text_files import format_suffix, open_text

# Whether a text file has blank lines between documents, or one document a line, is
# decided by this many characters at its start: a file may be too large to read twice.
LAYOUT_CHARACTERS = 2**20

# A longer document is divided, to bound memory.
DOCUMENT_CHARACTERS = 2**24

_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")


def read_documents(
  paths: Iterable[str | os.PathLike], field: str = "text"
) -> Iterator[str]:
  """Yields the documents of files, in order, stripped.

  In plain text, documents are separated by blank lines; in a file without blank lines
  every line is a document. A document longer than DOCUMENT_CHARACTERS becomes several.
  Bytes that are not UTF-8 are replaced by U+FFFD and empty documents of JSONL are
  skipped, both with one warning after the last file.

  Args:
    paths: files as returned by `expand_files`.
    field: the field of JSONL objects that holds the text.

  Raises:
    UserError: a file is missing, empty, damaged or not text, or a line of JSONL lacks
      the field; the message has the file and the line.
  """
  replacements = ReplacementCounter()
  for path in map(pathlib.Path, paths):
    is_json = format_suffix(path) in _JSON_SUFFIXES
    if is_json:
      documents = (entry.get(field, str) for entry in jsonl_entries(path))
    else:
      documents = _text_documents(path)
    empty = True
    for document in documents:
      for part in _parts(document):
        part = replacements.clean(part, path).strip()
        if part:
          empty = False
          yield part
      if is_json and (not document or document.isspace()):
        replacements.empty_documents += 1
    if empty:
      raise UserError(f"{path} holds no text")
  replacements.log_warnings()


def read_pairs(paths: Iterable[str | os.PathLike]) -> Iterator[tuple[str, str]]:
  """Yields the (source, target) pairs of JSONL and TSV files, in order, stripped.

  JSONL has the fields `source` and `target`; TSV has two columns, and a first line
  `source<TAB>target` is a header. Bytes that are not UTF-8 are replaced as in
  `read_documents`.

  Raises:
    UserError: a file is missing, empty, damaged or of another format, or a line lacks
      its source or target; the message has the file and the line.
  """
  names = ("source", "target")
  replacements = ReplacementCounter()
  for path in map(pathlib.Path, paths):
    suffix = format_suffix(path)
    if suffix not in (*_JSON_SUFFIXES, ".tsv"):
      raise UserError(f"{path}: pairs are read from .jsonl and .tsv files")
    is_tsv = suffix == ".tsv"
    empty = True
    for entry in tsv_entries(path, names) if is_tsv else jsonl_entries(path):
      pair = []
      for name in names:
        pair.append(replacements.clean(entry.get(name, str), path).strip())
        if not pair[-1]:
          raise entry.error(f"the {name} is empty")
      empty = False
      yield pair[0], pair[1]
    if empty:
      raise UserError(f"{path} holds no pair")
  replacements.log_warnings()


def _text_documents(path: pathlib.Path) -> Iterator[str]:
  with open_text(path) as file:
    start = file.read(LAYOUT_CHARACTERS)
  has_blank_lines = re.search(r"\n[^\S\n]*\n", start.strip()) is not None
  with open_text(path) as file:
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
