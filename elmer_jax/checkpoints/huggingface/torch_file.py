# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Reads PyTorch's weight files without PyTorch and without executing their code.

Such a file is a pickle, and unpickling can call any function. This reader allows the
few names that weights need and refuses all others.

Both layouts are read: the zip archive of PyTorch 1.6 and later, and the older stream of
pickles. Tensors are read on demand.
"""

import collections
import dataclasses
import pathlib
import pickle
import zipfile
from collections.abc import Callable

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


@dataclasses.dataclass(frozen=True)
class _Storage:
  """A flat array in the file."""

  key: str
  dtype: np.dtype
  size: int


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
    try:
      if zipfile.is_zipfile(path):
        tree, self._read_storage = _open_archive(path)
      else:
        tree, self._read_storage = _open_legacy(path)
    except (pickle.UnpicklingError, EOFError, ValueError, OSError) as error:
      raise UserError(f"{path} is damaged or not a file of weights: {error}") from None
    except (KeyError, TypeError, AttributeError, IndexError, zipfile.BadZipFile):
      raise UserError(f"{path} is damaged or not a file of weights") from None
    if not isinstance(tree, dict):
      raise UserError(f"{path} has a {type(tree).__name__}, not named tensors")
    views = {name: view for name, view in tree.items() if isinstance(view, _View)}
    for name, view in views.items():
      if not _fits(view):
        raise UserError(f"{path} is damaged: {name} exceeds its storage")
    self._views = views
    self.shapes = {name: tuple(view.shape) for name, view in views.items()}

  def read(self, name: str) -> np.ndarray:
    """Returns a tensor in the file's dtype."""
    view = self._views[name]
    dtype = view.storage.dtype
    data = self._read_storage(view.storage)
    if len(data) < view.storage.size * dtype.itemsize:
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
  if len(view.shape) != len(view.strides):
    return False
  last = sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True))
  return 0 in view.shape or view.offset + last < view.storage.size


def _rebuild_tensor(storage, offset, shape, strides, *rest) -> _View:
  del rest  # gradients and hooks
  return _View(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(view: _View, *rest) -> _View:
  del rest
  return view


_ALLOWED = {
  ("collections", "OrderedDict"): collections.OrderedDict,
  ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
  ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
} | {("torch", name): dtype for name, dtype in _DTYPES.items()}


class _Unpickler(pickle.Unpickler):
  """Builds only dictionaries of `_View`s, and collects their storages."""

  def __init__(self, file):
    super().__init__(file)
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


def _open_archive(path: pathlib.Path) -> tuple[object, Callable]:
  archive = zipfile.ZipFile(path)
  (index,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
  folder = index.removesuffix("data.pkl")
  if f"{folder}byteorder" in archive.namelist():
    order = archive.read(f"{folder}byteorder")
    if order != b"little":
      raise ValueError(f"its byte order is {order.decode()!r}")
  with archive.open(index) as file:
    tree = _Unpickler(file).load()
  return tree, lambda storage: archive.read(f"{folder}data/{storage.key}")


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
      file.seek(size * storage.dtype.itemsize, 1)

  def read(storage: _Storage) -> bytes:
    with path.open("rb") as file:
      file.seek(offsets[storage.key])
      return file.read(storage.size * storage.dtype.itemsize)

  return tree, read
