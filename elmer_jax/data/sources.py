# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The user's own files as documents and pairs: text, JSONL and TSV, also compressed.

Files are streamed, so they may be larger than memory. What a file holds is told by its
name: `.jsonl` one JSON object a line, `.tsv` (pairs only) two columns, anything else
plain text; each may be followed by `.gz` or `.zst`.
"""

import contextlib
import dataclasses
import functools
import glob
import gzip
import io
import json
import os
import pathlib
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from absl import logging

from elmer_jax.errors import UserError

# A text file has blank lines between documents, or a document a line: decided on this
# many characters at its start, as the whole may be too large to read twice.
LAYOUT_CHARACTERS = 2**20

# A longer document of a text file is handed over in parts: memory stays bounded.
DOCUMENT_CHARACTERS = 2**24

# What is looked at to tell text from anything else, and the share of its bytes that
# may be control characters or no UTF-8.
_SNIFFED_BYTES = 2**13
_STRANGE_SHARE = 0.3

_READ_BYTES = 2**20
# Small, because one byte of Zstandard can stand for thousands.
_COMPRESSED_BYTES = 2**14

# Compressed text is about so many times as long as its file.
_COMPRESSION = 3.5

_JSON_LINES = (".jsonl", ".ndjson", ".json")
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b")) + b"\x7f"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


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
  """The documents of files, in order, stripped, empty ones skipped.

  In plain text a document is a block between blank lines, or a line where there are no
  blank lines between lines (see LAYOUT_CHARACTERS). What is not UTF-8 is replaced by
  U+FFFD, counted, and said once, in a warning after the last file.

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
      document = replaced.clean(document, path).strip()
      if document:
        empty = False
        yield document
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
  """Counts what was not UTF-8 in a set of files, to say it once."""

  characters: int = 0
  texts: int = 0
  files: dict[pathlib.Path, None] = dataclasses.field(default_factory=dict)

  def clean(self, text: str, path: pathlib.Path) -> str:
    """Replaces what stands for undecodable bytes, or was a lone escape in JSON."""
    try:
      text.encode()  # several times faster than a search
    except UnicodeEncodeError:
      text, count = _LONE_SURROGATE.subn("\ufffd", text)
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


def _json_texts(path: pathlib.Path, field: str) -> Iterator[str]:
  for number, row in json_rows(path):
    yield _string(row, field, path, number)


def json_rows(path: pathlib.Path) -> Iterator[tuple[int, dict]]:
  """Yields the objects of a JSONL file, each with the number of its line."""
  with open_text(path) as lines:
    for number, line in enumerate(lines, start=1):
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
  with open_text(path) as lines:
    for number, line in enumerate(lines, start=1):
      columns = line.rstrip("\n").split("\t")
      if line.isspace() or (number == 1 and columns == ["source", "target"]):
        continue
      if len(columns) != 2:
        raise UserError(
          f"{path}, line {number}: {len(columns)} columns; expected source, a tab, "
          "target"
        )
      yield number, {"source": columns[0], "target": columns[1]}


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


def open_text(path: pathlib.Path) -> io.TextIOWrapper:
  """Opens a file for reading text; bytes that are no UTF-8 become lone surrogates.

  Raises:
    UserError: the file is missing, empty or not text. Damage further on raises it
      while reading.
  """
  data = io.BufferedReader(_Bytes(path), _READ_BYTES)
  try:
    start = data.peek(_SNIFFED_BYTES)[:_SNIFFED_BYTES]
    if not start:
      raise UserError(f"{path} is empty")
    if _is_binary(start):
      raise UserError(
        f"{path} is not UTF-8 text: binary, compressed with something else than .gz or "
        ".zst, or in another encoding"
      )
  except BaseException:
    data.close()
    raise
  return io.TextIOWrapper(data, encoding="utf-8-sig", errors="surrogateescape")


def _is_binary(start: bytes) -> bool:
  if b"\0" in start:
    return True
  undecodable = len(_LONE_SURROGATE.findall(start.decode("utf-8", "surrogateescape")))
  controls = len(start) - len(start.translate(None, _CONTROLS))
  # Up to three bytes of a character may be cut off at the end.
  return undecodable + controls - 3 > _STRANGE_SHARE * len(start)


class _Bytes(io.RawIOBase):
  """The decompressed bytes of a file; whatever goes wrong names the file."""

  def __init__(self, path: pathlib.Path):
    self._path = path
    with self._named_errors():
      self._file = path.open("rb")
    openers = {".gz": lambda file: gzip.GzipFile(fileobj=file), ".zst": _Zstandard}
    opener = openers.get(path.suffix.lower())
    self._data = opener(self._file) if opener else self._file

  def readable(self) -> bool:
    return True

  def readinto(self, buffer) -> int:
    with self._named_errors():
      return self._data.readinto(buffer)

  def close(self) -> None:
    if not self.closed and hasattr(self, "_file"):
      self._file.close()
    super().close()

  @contextlib.contextmanager
  def _named_errors(self) -> Iterator[None]:
    try:
      yield
    except FileNotFoundError:
      raise UserError(f"{self._path} is missing") from None
    except EOFError:
      raise UserError(f"{self._path} is cut short: its last part is missing") from None
    except (gzip.BadGzipFile, _BadZstandard, zlib.error) as error:
      raise UserError(f"{self._path} is damaged: {error}") from None
    except OSError as error:
      raise UserError(f"{self._path} can't be read: {error.strerror}") from None


class _BadZstandard(OSError):
  """A Zstandard file's content is damaged."""


class _Zstandard(io.RawIOBase):
  """Reads Zstandard frames, and raises EOFError when the last one is not complete.

  zstandard's own reader takes a file that was cut short for a whole one.
  """

  def __init__(self, file: BinaryIO):
    import zstandard

    self._file = file
    self._new_frame = zstandard.ZstdDecompressor().decompressobj
    self._error = zstandard.ZstdError
    self._frame = None
    self._compressed = b""
    self._data = memoryview(b"")

  def readable(self) -> bool:
    return True

  def readinto(self, buffer) -> int:
    while not self._data:
      self._compressed = self._compressed or self._file.read(_COMPRESSED_BYTES)
      if not self._compressed:
        if self._frame is not None:
          raise EOFError
        return 0
      self._frame = self._frame or self._new_frame()
      try:
        self._data = memoryview(self._frame.decompress(self._compressed))
      except self._error as error:
        raise _BadZstandard(str(error)) from None
      self._compressed = self._frame.unused_data
      if self._frame.eof:
        self._frame = None
    count = min(len(buffer), len(self._data))
    buffer[:count] = self._data[:count]
    self._data = self._data[count:]
    return count
