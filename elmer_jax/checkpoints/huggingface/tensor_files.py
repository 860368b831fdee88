# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The named tensors of a Hugging Face folder, in any of its file formats."""

import pathlib
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from elmer_jax.checkpoints.huggingface.torch_file import TorchFile
from elmer_jax.core.atomic_files import replacing
from elmer_jax.core.errors import UserError
from elmer_jax.core.json_files import damaged, read_object
from elmer_jax.core.paths import is_plain_name

SAFETENSORS, TORCH = "model.safetensors", "pytorch_model.bin"


class TensorFile(Protocol):
  """Tensors that are read on demand."""

  shapes: dict[str, tuple[int, ...]]

  def read(self, name: str) -> np.ndarray:
    """Returns a tensor in the file's dtype."""


class _SafetensorsFile:
  def __init__(self, path: pathlib.Path):
    import safetensors

    try:
      # The NumPy framework has no bfloat16. A memory-mapped file would stay in memory
      # while its tensors are converted.
      self._file = safetensors.safe_open(path, framework="flax", backend="pread")
    except (safetensors.SafetensorError, OSError) as error:
      raise UserError(f"{path} is damaged: {error}") from None
    self._path = path
    names = self._file.keys()
    self.shapes = {
      name: tuple(self._file.get_slice(name).get_shape()) for name in names
    }

  def read(self, name: str) -> np.ndarray:
    try:
      return np.asarray(self._file.get_tensor(name))
    except Exception as error:  # for types of numbers that the package does not know
      raise UserError(f"{self._path}: tensor {name} can't be read: {error}") from None


class _ShardedFile:
  """The files of a model that was saved in shards."""

  def __init__(self, files: Mapping[pathlib.Path, TensorFile]):
    self._owner = {}
    for path, file in files.items():
      for name in file.shapes:
        if name in self._owner:
          raise UserError(f"{path}: tensor {name} is in another file as well")
        self._owner[name] = file
    self.shapes = {name: file.shapes[name] for name, file in self._owner.items()}

  def read(self, name: str) -> np.ndarray:
    return self._owner[name].read(name)


def find(folder: pathlib.Path) -> list[pathlib.Path]:
  """Returns the weight files of a folder, several if it was saved in shards.

  Raises:
    UserError: the index of the shards is damaged, or a shard is missing.
  """
  for name in (SAFETENSORS, TORCH):
    if (folder / name).exists():
      return [folder / name]
    index = folder / f"{name}.index.json"
    if not index.exists():
      continue
    listed = read_object(index, {"weight_map": dict})["weight_map"].values()
    for shard in listed:
      if not is_plain_name(shard):
        raise damaged(index, f"{shard!r} is not the name of a file")
    shards = sorted(set(listed))
    for shard in shards:
      if not (folder / shard).exists():
        raise UserError(f"{folder / shard} is missing; {index.name} lists it")
    return [folder / shard for shard in shards]
  return []


def open_all(folder: pathlib.Path) -> TensorFile:
  """Opens a folder's weights.

  Raises:
    UserError: there are none, or a file is damaged.
  """
  paths = find(folder)
  if not paths:
    raise UserError(f"{folder} has neither {SAFETENSORS} nor {TORCH}")
  files = {path: _open(path) for path in paths}
  return files[paths[0]] if len(paths) == 1 else _ShardedFile(files)


def _open(path: pathlib.Path) -> TensorFile:
  if not path.is_file():
    raise UserError(f"{path} is not a regular file")
  return TorchFile(path) if path.suffix == ".bin" else _SafetensorsFile(path)


def write(path: pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
  """Writes a safetensors file atomically."""
  from safetensors import numpy

  # safetensors writes memory in order, also of transposed views.
  contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
  with replacing(path) as temporary:
    # transformers requires the format.
    numpy.save_file(contiguous, temporary, metadata={"format": "pt"})
