# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Reads PyTorch's weight files without PyTorch and without executing their code.

Such a file is a pickle, and unpickling can call any function. This reader allows the
few names and operations that weights need and refuses all others. What it reads into
memory is bounded by the size of the file.

Both layouts are read: the zip archive of PyTorch 1.6 and later, and the older stream of
pickles. Tensors are read on demand.
"""

import contextlib
import dataclasses
import math
import pathlib
import pickle
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import ml_dtypes
import numpy as np

from elmer_jax.core.errors import UserError

_DTYPES = {
  "FloatStorage": np.dtype("<f4"),
  "DoubleStorage": np.dtype("<f8"),
  "HalfStorage": np.dtype("<f2"),
  "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
  "LongStorage": np.dtype("<i8"),
  "IntStorage": np.dtype("<i4"),
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_PICKLE_BYTES = 2**20  # names, shapes and places of some 7,000 tensors
_MOST_VIEWS = 4  # of one storage: the token table has four names
# What weights need of the pickle format; nothing in it hashes or calls what it reads,
# except REDUCE, which calls what `find_class` allows.
_OPERATIONS = (
  *("PROTO", "FRAME", "STOP", "MARK", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BINPERSID"),
  *("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
  *("LIST", "APPEND", "APPENDS", "NONE", "NEWTRUE", "NEWFALSE"),
  *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
  *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "BINFLOAT"),
  *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"),
)


@dataclasses.dataclass(frozen=True)
class _Storage:
  """A flat array in the file."""

  key: str
  dtype: np.dtype
  size: int

  @property
  def num_bytes(self) -> int:
    return self.size * self.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class _View:
  """A tensor: a view of a storage, with offset and strides in elements."""

  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


class TorchFile:
  """The tensors of a file, by name."""

  def __init__(self, path: pathlib.Path):
    """Reads the names and shapes of the tensors.

    Raises:
      UserError: the file is damaged, or refers to code that weights don't need.
    """
    self._path = path
    with self._one_line():
      if zipfile.is_zipfile(path):
        tree, self._read_storage = _open_archive(path)
      else:
        tree, self._read_storage = _open_legacy(path)
    if not isinstance(tree, dict):
      raise UserError(f"{path} has a {type(tree).__name__}, not named tensors")
    views = {name: view for name, view in tree.items() if isinstance(view, _View)}
    for name, view in views.items():
      if not _fits(view):
        raise UserError(f"{path} is damaged: {name} exceeds its storage")
    total = sum(math.prod(v.shape) * v.storage.dtype.itemsize for v in views.values())
    if total > _MOST_VIEWS * path.stat().st_size:
      raise UserError(f"{path} is damaged: its tensors are larger than the file")
    self._views = views
    self.shapes = {name: tuple(view.shape) for name, view in views.items()}

  @contextlib.contextmanager
  def _one_line(self) -> Iterator[None]:
    try:
      yield
    except Exception as error:  # a damaged archive or pickle can raise anything
      reason = str(error)[:200] or type(error).__name__
      raise UserError(
        f"{self._path} is damaged or not a file of weights: {reason}"
      ) from None

  def read(self, name: str) -> np.ndarray:
    """Returns a tensor in the file's dtype."""
    view = self._views[name]
    dtype = view.storage.dtype
    with self._one_line():
      data = self._read_storage(view.storage)
    if len(data) < view.storage.num_bytes:
      raise UserError(f"{self._path} is truncated: {name} is incomplete")
    numbers = np.frombuffer(data, dtype, view.storage.size)[view.offset :]
    strides = [stride * dtype.itemsize for stride in view.strides]
    return np.lib.stride_tricks.as_strided(
      numbers, view.shape, strides, writeable=False
    )


def _fits(view: _View) -> bool:
  numbers = (view.offset, *view.shape, *view.strides)
  if not all(isinstance(n, int) and n >= 0 for n in numbers):
    return False
  if not isinstance(view.storage, _Storage) or len(view.shape) != len(view.strides):
    return False
  if math.prod(view.shape) > view.storage.size:  # numbers are used more than once
    return False
  last = sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True))
  return 0 in view.shape or view.offset + last < view.storage.size


def _rebuild_tensor(storage, offset, shape, strides, *rest) -> _View:
  del rest  # gradients and hooks
  return _View(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(view: _View, *rest) -> _View:
  del rest
  return view


def _named(items: Iterable[tuple[object, object]] = ()) -> dict:
  """Returns a dictionary whose keys are strings."""
  found = {}
  for name, value in items:
    if not isinstance(name, str):
      raise pickle.UnpicklingError("it names something by another thing than a string")
    found[name] = value
  return found


_ALLOWED = {
  ("collections", "OrderedDict"): _named,
  ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
  ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
} | {("torch", name): dtype for name, dtype in _DTYPES.items()}


class _Bounded:
  """A file of which at most `most` bytes can be read."""

  def __init__(self, file: BinaryIO, most: int = _MAX_PICKLE_BYTES):
    self._file, self._left = file, most

  def read(self, size: int) -> bytes:
    return self._counted(self._file.read(min(size, self._left + 1)))

  def readline(self) -> bytes:
    return self._counted(self._file.readline(self._left + 1))

  def _counted(self, data: bytes) -> bytes:
    self._left -= len(data)
    if self._left < 0:
      raise pickle.UnpicklingError("its description of the tensors is too long")
    return data


class _Unpickler(pickle._Unpickler):
  """Builds only dictionaries of `_View`s, and collects their storages.

  The one in Python, because that in C can't be kept from hashing what it reads: a tuple
  that is nested deep enough overflows its stack.
  """

  dispatch = {
    getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]]
    for name in _OPERATIONS
  }

  def __init__(self, file: BinaryIO):
    super().__init__(_Bounded(file))
    self.storages: dict[str, _Storage] = {}

  def find_class(self, module: str, name: str):
    if (module, name) not in _ALLOWED:
      raise pickle.UnpicklingError(
        f"it refers to {module}.{name}, which weights don't need; it was not executed"
      )
    return _ALLOWED[module, name]

  def persistent_load(self, pid) -> _Storage:
    kind, dtype, key, _, size = pid[:5]
    if kind != "storage" or not isinstance(dtype, np.dtype):
      raise pickle.UnpicklingError(f"it refers to a {kind!r}")
    return self.storages.setdefault(str(key), _Storage(str(key), dtype, int(size)))

  def _load_items(self) -> None:
    items = self.pop_mark()
    self.stack[-1].update(_named(zip(items[::2], items[1::2], strict=True)))

  def _load_item(self) -> None:
    value, name = self.stack.pop(), self.stack.pop()
    self.stack[-1].update(_named([(name, value)]))

  def _load_state(self) -> None:
    self.stack.pop()  # attributes of a dictionary, which nobody needs

  dispatch[pickle.SETITEMS[0]] = _load_items
  dispatch[pickle.SETITEM[0]] = _load_item
  dispatch[pickle.BUILD[0]] = _load_state


def _open_archive(path: pathlib.Path) -> tuple[object, Callable]:
  archive = zipfile.ZipFile(path)
  if any(e.compress_type != zipfile.ZIP_STORED for e in archive.infolist()):
    raise ValueError("it is compressed, which PyTorch's files are not")
  (index,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
  folder = index.removesuffix("data.pkl")

  def read(name: str, most: int) -> bytes:
    with archive.open(f"{folder}{name}") as file:
      return file.read(most)

  if f"{folder}byteorder" in archive.namelist():
    order = read("byteorder", 100)
    if order != b"little":
      raise ValueError(f"its byte order is {order.decode()!r}")
  with archive.open(index) as file:
    tree = _Unpickler(file).load()
  return tree, lambda storage: read(f"data/{storage.key}", storage.num_bytes)


def _open_legacy(path: pathlib.Path) -> tuple[object, Callable]:
  offsets = {}
  with path.open("rb") as file:
    magic, protocol, system = (_Unpickler(file).load() for _ in range(3))
    if magic != _LEGACY_MAGIC or protocol != _LEGACY_PROTOCOL:
      raise ValueError("it doesn't start like a PyTorch file")
    if not system["little_endian"]:
      raise ValueError("its byte order is 'big'")
    reader = _Unpickler(file)
    tree = reader.load()
    for key in _Unpickler(file).load():
      storage = reader.storages[key]
      size = int.from_bytes(file.read(8), "little")
      if size != storage.size:
        raise ValueError(f"storage {key} has an unexpected size")
      offsets[key] = file.tell()
      if offsets[key] + storage.num_bytes > path.stat().st_size:
        raise ValueError("it is cut short")
      file.seek(storage.num_bytes, 1)

  def read(storage: _Storage) -> bytes:
    with path.open("rb") as file:
      file.seek(offsets[storage.key])
      return file.read(storage.num_bytes)

  return tree, read
