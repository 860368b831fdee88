# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The user's own files as documents and pairs: text, JSONL and TSV, also compressed.

Files are streamed, so they may be larger than memory. What a file holds is told by its
name: `.jsonl` one JSON object a line, `.tsv` (pairs only) two columns, anything else
plain text; each may be followed by `.gz` or `.zst`.
"""

import dataclasses
import functools
import glob
import json
import os
import pathlib
import re
from collections.abc import Iterable, Iterator

from absl import logging

from elmer_jax.core.errors import UserError
from elmer_jax.data.readers.text_files import LONE_SURROGATE, open_text

# A text file has blank lines between documents, or a document a line: decided on this
# many characters at its start, as the whole may be too large to read twice.
LAYOUT_CHARACTERS = 2**20

# A longer document is handed over in parts: memory stays bounded.
DOCUMENT_CHARACTERS = 2**24

# A line of JSONL or TSV has to be read whole; a longer one is refused.
LINE_CHARACTERS = 2**27

# Compressed text is about so many times as long as its file.
_COMPRESSION = 3.5

_JSON_LINES = (".jsonl", ".ndjson", ".json")


def expand_files(patterns: str) -> list[pathlib.Path]:
  """Files of comma-separated names and patterns, such as `a.txt,b/*.jsonl.zst`.

  Patterns are the shell's, and `**` stands for folders at any depth.

  Returns:
    The files, each once, sorted by name.

  Raises:
    UserError: a name or pattern matches no file, or a file is a folder, empty,
      unreadable or not text.
  """
  names = [name.strip() for name in patterns.split(",") if name.strip()]
  if not names:
    raise UserError("no files given: name some, such as 'a.txt,b/*.jsonl.zst'")
  found = set()
  for name in map(os.path.expanduser, names):
    if os.path.isdir(name):
      raise UserError(f"{name} is a folder: name its files, such as '{name}/*.txt'")
    matches = [name] if os.path.exists(name) else glob.glob(name, recursive=True)
    files = [pathlib.Path(match) for match in matches if not os.path.isdir(match)]
    if not files:
      kind = "pattern matches no file" if glob.has_magic(name) else "file is missing"
      raise UserError(f"{name}: this {kind}")
    found.update(files)
  for path in sorted(found):
    open_text(path).close()
  return sorted(found)


def size_of(paths: Iterable[pathlib.Path]) -> float:
  """Returns about how many characters files hold, from their sizes alone."""
  return sum(
    path.stat().st_size * (_COMPRESSION if _is_compressed(path) else 1)
    for path in paths
  )


def read_documents(
  paths: Iterable[str | os.PathLike], field: str = "text"
) -> Iterator[str]:
  """The documents of files, in order, stripped.

  In plain text a document is a block between blank lines, or a line where there are no
  blank lines between lines (see LAYOUT_CHARACTERS). A document longer than
  DOCUMENT_CHARACTERS becomes several. What is not UTF-8 is replaced by U+FFFD, and
  JSONL's empty documents are skipped; both are counted, and said once, in a warning
  after the last file.

  Args:
    paths: files as `expand_files` gives them.
    field: where the objects of JSONL files have their text.

  Raises:
    UserError: a file is missing, empty, damaged or not text, or a line of JSONL has no
      such field; the message has the file and the line.
  """
  replaced = Replaced()
  for path in map(pathlib.Path, paths):
    is_json = _kind(path) in _JSON_LINES
    documents = _json_texts(path, field) if is_json else _text_documents(path)
    empty = True
    for document in documents:
      for part in _parts(document):
        part = replaced.clean(part, path).strip()
        if part:
          empty = False
          yield part
      if is_json and (not document or document.isspace()):
        replaced.empty += 1
    if empty:
      raise UserError(f"{path} holds no text")
  replaced.say()


def read_pairs(paths: Iterable[str | os.PathLike]) -> Iterator[tuple[str, str]]:
  """The (source, target) pairs of JSONL and TSV files, in order, stripped.

  JSONL has the fields `source` and `target`; TSV has two columns, and a first line
  `source<TAB>target` is taken for a heading. Bytes that are not UTF-8 are treated as in
  `read_documents`.

  Raises:
    UserError: a file is missing, empty, damaged or of another kind, or a line lacks its
      source or target; the message has the file and the line.
  """
  replaced = Replaced()
  for path in map(pathlib.Path, paths):
    kind = _kind(path)
    if kind not in (*_JSON_LINES, ".tsv"):
      raise UserError(f"{path}: pairs are read from .jsonl and .tsv files")
    rows = _tsv_rows(path) if kind == ".tsv" else json_rows(path)
    empty = True
    for number, row in rows:
      pair = []
      for name in ("source", "target"):
        text = replaced.clean(_string(row, name, path, number), path).strip()
        if not text:
          raise UserError(f"{path}, line {number}: the {name} is empty")
        pair.append(text)
      empty = False
      yield pair[0], pair[1]
    if empty:
      raise UserError(f"{path} holds no pair")
  replaced.say()


@dataclasses.dataclass
class Replaced:
  """Counts what was replaced or left out in a set of files, to say it once."""

  empty: int = 0
  # What was not UTF-8.
  characters: int = 0
  texts: int = 0
  files: dict[pathlib.Path, None] = dataclasses.field(default_factory=dict)

  def clean(self, text: str, path: pathlib.Path) -> str:
    """Replaces what stands for undecodable bytes, or was a lone escape in JSON."""
    try:
      text.encode()  # several times faster than a search
    except UnicodeEncodeError:
      text, count = LONE_SURROGATE.subn("\ufffd", text)
      self.characters += count
      self.texts += 1
      self.files[path] = None
    return text

  def say(self) -> None:
    if self.characters:
      _warn_once(
        f"{self.characters} bytes in {self.texts} texts of {len(self.files)} files "
        f"(first {next(iter(self.files))}) are not UTF-8: each was replaced by U+FFFD."
      )
    if self.empty:
      _warn_once(f"{self.empty} documents are empty and were left out.")


@functools.cache
def _warn_once(message: str) -> None:
  """Warns once a process: files are read again for each split."""
  logging.warning("%s", message)


def _text_documents(path: pathlib.Path) -> Iterator[str]:
  with open_text(path) as lines:
    start = lines.read(LAYOUT_CHARACTERS)
  has_blank_lines = re.search(r"\n[^\S\n]*\n", start.strip()) is not None
  with open_text(path) as lines:
    # Whole lines, or the parts of one that is longer than a document may be.
    parts = iter(lambda: lines.readline(DOCUMENT_CHARACTERS), "")
    yield from _blocks(parts) if has_blank_lines else parts


def _blocks(lines: Iterator[str]) -> Iterator[str]:
  block, length = [], 0
  for line in lines:
    blank = line.isspace()
    if block and (blank or length + len(line) > DOCUMENT_CHARACTERS):
      yield "".join(block)
      block, length = [], 0
    if not blank:
      block.append(line)
      length += len(line)
  if block:
    yield "".join(block)


def _parts(document: str) -> Iterator[str]:
  """Cuts a document that is too long, after white space where there is any."""
  start = 0
  while len(document) - start > DOCUMENT_CHARACTERS:
    end = start + DOCUMENT_CHARACTERS
    cut = max(document.rfind(space, start, end) for space in " \n") + 1 or end
    yield document[start:cut]
    start = cut
  yield document[start:]


def _json_texts(path: pathlib.Path, field: str) -> Iterator[str]:
  for number, row in json_rows(path):
    yield _string(row, field, path, number)


def json_rows(path: pathlib.Path) -> Iterator[tuple[int, dict]]:
  """Yields the objects of a JSONL file, each with the number of its line."""
  for number, line in _numbered_lines(path):
    if line.isspace():
      continue
    try:
      row = json.loads(line)
    except (ValueError, RecursionError) as error:
      raise UserError(f"{path}, line {number}: not JSON ({error})") from None
    if not isinstance(row, dict):
      raise UserError(f"{path}, line {number}: not a JSON object")
    yield number, row


def _tsv_rows(path: pathlib.Path) -> Iterator[tuple[int, dict]]:
  for number, line in _numbered_lines(path):
    columns = line.rstrip("\n").split("\t")
    if line.isspace() or (number == 1 and columns == ["source", "target"]):
      continue
    if len(columns) != 2:
      raise UserError(
        f"{path}, line {number}: {len(columns)} columns; expected source, a tab, target"
      )
    yield number, {"source": columns[0], "target": columns[1]}


def _numbered_lines(path: pathlib.Path) -> Iterator[tuple[int, str]]:
  with open_text(path) as lines:
    parts = iter(lambda: lines.readline(LINE_CHARACTERS), "")
    for number, line in enumerate(parts, start=1):
      if len(line) == LINE_CHARACTERS and not line.endswith("\n"):
        raise UserError(
          f"{path}, line {number}: longer than {LINE_CHARACTERS} characters; divide it"
        )
      yield number, line


def _string(row: dict, field: str, path: pathlib.Path, number: int) -> str:
  if field not in row:
    names = ", ".join(map(repr, list(row)[:8])) or "none"
    raise UserError(f"{path}, line {number}: no field {field!r} (its fields: {names})")
  if not isinstance(row[field], str):
    raise UserError(f"{path}, line {number}: field {field!r} is not a string")
  return row[field]


def _is_compressed(path: pathlib.Path) -> bool:
  return path.suffix.lower() in (".gz", ".zst")


def _kind(path: pathlib.Path) -> str:
  suffixes = [suffix.lower() for suffix in path.suffixes]
  if suffixes and suffixes[-1] in (".gz", ".zst"):
    suffixes.pop()
  return suffixes[-1] if suffixes else ""
