# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Opening text files as they come: compressed or not, and whatever is wrong with them.

What goes wrong while reading (a file cut short, damaged, unreadable) is one line that
names the file.
"""

import contextlib
import gzip
import io
import pathlib
import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from elmer_jax.core.errors import UserError

# What is looked at to tell text from anything else, and the share of its bytes that
# may be control characters or no UTF-8.
_SNIFFED_BYTES = 2**13
_STRANGE_SHARE = 0.3

_READ_BYTES = 2**20
# Small, because one byte of Zstandard can stand for thousands.
_COMPRESSED_BYTES = 2**14

_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b")) + b"\x7f"
# What stands for a byte that is not UTF-8 in what `open_text` reads.
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


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
  undecodable = len(LONE_SURROGATE.findall(start.decode("utf-8", "surrogateescape")))
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
