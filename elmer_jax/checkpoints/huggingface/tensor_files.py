# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The named tensors of a Hugging Face folder, whichever files they are in."""

import json
import pathlib
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from elmer_jax.checkpoints.huggingface.torch_file import TorchFile
from elmer_jax.core.atomic_files import replacing
from elmer_jax.core.errors import UserError

SAFETENSORS, TORCH = "model.safetensors", "pytorch_model.bin"


class TensorFile(Protocol):
  """Tensors that are read as they are asked for."""

  shapes: dict[str, tuple[int, ...]]

  def read(self, name: str) -> np.ndarray:
    """Returns a tensor in the file's dtype."""


class _SafetensorsFile:
  def __init__(self, path: pathlib.Path):
    import safetensors

    try:
      # JAX's arrays know bfloat16, NumPy's don't. Mapped, the file would stay in memory
      # beside what was made of it.
      self._file = safetensors.safe_open(path, framework="flax", backend="pread")
    except (safetensors.SafetensorError, OSError) as error:
      raise UserError(f"{path} is damaged: {error}") from None
    names = self._file.keys()
    self.shapes = {
      name: tuple(self._file.get_slice(name).get_shape()) for name in names
    }

  def read(self, name: str) -> np.ndarray:
    return np.asarray(self._file.get_tensor(name))


class _Several:
  """The files of a model that was saved in pieces."""

  def __init__(self, files: Mapping[pathlib.Path, TensorFile]):
    self._owner = {name: file for file in files.values() for name in file.shapes}
    self.shapes = {name: file.shapes[name] for name, file in self._owner.items()}

  def read(self, name: str) -> np.ndarray:
    return self._owner[name].read(name)


def find(folder: pathlib.Path) -> list[pathlib.Path]:
  """Returns the files with a folder's weights; several if it was saved in pieces.

  Raises:
    UserError: the list of the pieces is damaged, or a piece is missing.
  """
  for name in (SAFETENSORS, TORCH):
    if (folder / name).exists():
      return [folder / name]
    index = folder / f"{name}.index.json"
    if not index.exists():
      continue
    try:
      pieces = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError):
      raise UserError(f"{index} is damaged: no map from tensors to files") from None
    for piece in pieces:
      if not (folder / piece).exists():
        raise UserError(f"{folder / piece} is missing; {index.name} names it")
    return [folder / piece for piece in pieces]
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
  return files[paths[0]] if len(paths) == 1 else _Several(files)


def _open(path: pathlib.Path) -> TensorFile:
  return TorchFile(path) if path.suffix == ".bin" else _SafetensorsFile(path)


def write(path: pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
  """Writes a safetensors file, whole or not at all."""
  from safetensors import numpy

  # Transposed views would be written in the order of their memory.
  in_order = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
  with replacing(path) as temporary:
    # transformers asks what library the file is for.
    numpy.save_file(in_order, temporary, metadata={"format": "pt"})
    temporary.chmod(0o644)  # safetensors makes files for their owner alone
