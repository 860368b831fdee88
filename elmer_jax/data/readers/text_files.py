# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Finds and opens text files, plain or compressed with gzip or Zstandard.

Every problem with a file, also while it is being read, is a UserError that names it.
"""

import codecs
import contextlib
import glob
import gzip
import io
import os
import pathlib
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from elmer_jax.core.errors import UserError
from elmer_jax.core.paths import local_path
from elmer_jax.data.readers.file_patterns import matching_files

# A line of JSONL or TSV has to fit in memory; a longer one is an error.
LINE_CHARACTERS = 2**27

# `open_text` decodes a byte that is not UTF-8 as one of these.
LONE_SURROGATE = re.compile("[\ud800-\udfff]")

# A file is not text if more than this share of its first bytes are control characters
# or not UTF-8.
_SNIFFED_BYTES = 2**13
_MAX_NON_TEXT_SHARE = 0.3
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b")) + b"\x7f"

_PARQUET_START = b"PAR1"

_READ_BYTES = 2**20
# Small, because one byte of Zstandard can decompress to thousands.
_COMPRESSED_BYTES = 2**14

_COMPRESSED_SUFFIXES = (".gz", ".zst")
_COMPRESSION_RATIO = 3.5  # typical for text


def expand_files(patterns: str, encoding: str = "") -> list[pathlib.Path]:
  """Returns the files of comma-separated names and patterns: `a.txt,b/*.jsonl.zst`.

  Patterns are the shell's; `**` matches folders at any depth.
  Files are read more than once, so pipes can't be used.

  Args:
    patterns: names and patterns.
    encoding: as `open_text` takes it.

  Returns:
    The files without repetition, sorted by name.

  Raises:
    UserError: a name or pattern matches no file, or a file is a folder, a pipe or
      device, empty, unreadable, or neither text nor Parquet.
  """
  names = [name.strip() for name in patterns.split(",") if name.strip()]
  if not names:
    raise UserError("no files given: name some, such as 'a.txt,b/*.jsonl.zst'")
  found = set()
  for name in names:
    name = local_path(name, "data.files")
    if os.path.isdir(name):
      raise UserError(f"{name} is a folder: name its files, such as '{name}/*.txt'")
    files = {name} if os.path.exists(name) else matching_files(name)
    if not files:
      kind = "pattern matches no file" if glob.has_magic(name) else "file is missing"
      raise UserError(f"{name}: this {kind}")
    found.update(map(pathlib.Path, files))
  for path in sorted(found):
    if path.exists() and not path.is_file():
      raise UserError(f"{path} is a pipe or a device: copy its content to a file")
    if not is_parquet(path):
      open_text(path, encoding).close()
  return sorted(found)


def estimate_characters(paths: Iterable[pathlib.Path]) -> float:
  """Returns the approximate number of characters of files, from their sizes alone."""
  return sum(
    path.stat().st_size * (_COMPRESSION_RATIO if _is_compressed(path) else 1)
    for path in paths
  )


def format_suffix(path: pathlib.Path) -> str:
  """Returns the suffix before any suffix of compression, in lower case: ".jsonl"."""
  return pathlib.Path(path.stem if _is_compressed(path) else path).suffix.lower()


def is_parquet(path: pathlib.Path) -> bool:
  """Tells whether a file is Parquet; raises `UserError` if it can't be read."""
  with _DecompressedFile(path) as file:
    return file.read(len(_PARQUET_START)) == _PARQUET_START


def encoding_of(path: pathlib.Path, encoding: str = "") -> str:
  """Returns "UTF-8", "UTF-16" (by its byte order mark), or `encoding`.

  Args:
    path: a text file.
    encoding: of a file that is not UTF-8. Where it is given, the whole file is read to
      find that out.

  Raises:
    UserError: `encoding` is unknown, or the file can't be read.
  """
  with _DecompressedFile(path) as file:
    start = file.read(_READ_BYTES) or b""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
      return "UTF-16"
    if not encoding:
      return "UTF-8"
    try:
      codecs.lookup(encoding)
    except LookupError:
      raise UserError(
        f"data.encoding={encoding!r} is unknown; latin-1, cp1252 or utf-16 are known"
      ) from None
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
      while start:
        decoder.decode(start)
        start = file.read(_READ_BYTES)
      decoder.decode(b"", final=True)
    except UnicodeDecodeError:
      return encoding
  return "UTF-8"


def open_text(path: pathlib.Path, encoding: str = "") -> io.TextIOWrapper:
  """Opens a text file in UTF-8, UTF-16 with a byte order mark, or `encoding`.

  Without an `encoding`, bytes that are not UTF-8 are read as lone surrogates.

  Raises:
    UserError: the file is missing, empty or not text. Reading raises it if the file is
      damaged further on.
  """
  found = encoding_of(path, encoding)
  data = io.BufferedReader(_DecompressedFile(path), _READ_BYTES)
  try:
    start = data.peek(_SNIFFED_BYTES)[:_SNIFFED_BYTES]
    if not start:
      raise UserError(f"{path} is empty")
    if found == "UTF-8" and _is_binary(start):
      raise UserError(
        f"{path} is not UTF-8 text: it is binary, compressed in another format than "
        ".gz or .zst, or in an encoding that data.encoding has to name"
      )
  except BaseException:
    data.close()
    raise
  if found == "UTF-8":
    return io.TextIOWrapper(data, encoding="utf-8-sig", errors="surrogateescape")
  return io.TextIOWrapper(data, encoding=found, errors="replace")


def numbered_lines(path: pathlib.Path, encoding: str = "") -> Iterator[tuple[int, str]]:
  """Yields the lines of a file, each with its number from 1.

  Raises:
    UserError: as `open_text`, or a line has more than LINE_CHARACTERS.
  """
  with open_text(path, encoding) as file:
    lines = iter(lambda: file.readline(LINE_CHARACTERS), "")
    for number, line in enumerate(lines, start=1):
      if len(line) == LINE_CHARACTERS and not line.endswith("\n"):
        raise UserError(
          f"{path}, line {number}: longer than {LINE_CHARACTERS} characters; divide it"
        )
      yield number, line


def _is_compressed(path: pathlib.Path) -> bool:
  return path.suffix.lower() in _COMPRESSED_SUFFIXES


def _is_binary(start: bytes) -> bool:
  if b"\0" in start:
    return True
  undecodable = len(LONE_SURROGATE.findall(start.decode("utf-8", "surrogateescape")))
  controls = len(start) - len(start.translate(None, _CONTROLS))
  # Up to three bytes of a character may be cut off at the end.
  return undecodable + controls - 3 > _MAX_NON_TEXT_SHARE * len(start)


class _DecompressedFile(io.RawIOBase):
  """The decompressed bytes of a file; its errors name the file."""

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
  """The content of a Zstandard file is damaged."""


class _Zstandard(io.RawIOBase):
  """Reads Zstandard frames; raises EOFError if the last one is incomplete.

  zstandard's own reader does not report a file that was cut short.
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
