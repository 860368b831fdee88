# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Small Hugging Face folders, and PyTorch's own file layouts without PyTorch."""

import dataclasses
import io
import pickle
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import tiny_text
from safetensors import numpy as safetensors

from elmer_jax.checkpoints.huggingface import bart_names, hf_folder
from elmer_jax.decoding.incremental import Search


def random_tensors(config, seed=0) -> dict[str, np.ndarray]:
  rng = np.random.default_rng(seed)
  return {
    name: rng.normal(0, 0.3, shape).astype(np.float32)
    for name, shape in bart_names.shapes(config).items()
  }


def write(folder: Path, config, search: Search | None = None) -> None:
  """Writes a folder of random weights, trained with soft exit."""
  params = bart_names.from_bart(random_tensors(config).__getitem__, config)
  metadata = {
    "objective": {"name": "soft_exit"},
    "source_length": 24,
    "target_length": 10,
    "generation": dataclasses.asdict(search or Search()),
  }
  hf_folder.write(str(folder), config, params, metadata, tiny_text.vocabulary())


def rewrite(folder: Path, change) -> None:
  """Changes the tensors of a folder."""
  path = folder / "model.safetensors"
  tensors = dict(safetensors.load_file(path))
  change(tensors)
  safetensors.save_file(tensors, path)


class FloatStorage:
  pass


def _rebuild_tensor_v2(*_):
  raise AssertionError("the reader has its own")


class _Tensor:
  def __init__(self, key, array, strides=None):
    self.key, self.array = key, array
    self.strides = strides or tuple(s // 4 for s in array.strides)

  def __reduce__(self):
    storage = _Storage(self.key, self.array.size)
    arguments = (storage, 0, self.array.shape, self.strides, False, {})
    return _rebuild_tensor_v2, arguments


class _Storage:
  def __init__(self, key, size):
    self.key, self.size = key, size


class _Pickler(pickle._Pickler):
  """Writes the names of PyTorch's functions; they are ours only while it runs."""

  legacy = False

  def persistent_id(self, obj):
    if not isinstance(obj, _Storage):
      return None
    view = (None,) if self.legacy else ()
    return ("storage", FloatStorage, obj.key, "cpu", obj.size, *view)


def pickled(value, legacy, monkeypatch) -> bytes:
  for module, thing in (("torch", FloatStorage), ("torch._utils", _rebuild_tensor_v2)):
    fake = types.ModuleType(module)
    setattr(fake, thing.__name__, thing)
    monkeypatch.setitem(sys.modules, module, fake)
    monkeypatch.setattr(thing, "__module__", module)
  file = io.BytesIO()
  pickler = _Pickler(file, 2)
  pickler.legacy = legacy
  pickler.dump(value)
  return file.getvalue()


def write_torch(path: Path, arrays: dict, legacy: bool, monkeypatch, **strides) -> None:
  tree = {
    name: _Tensor(str(number), array, strides.get(name))
    for number, (name, array) in enumerate(arrays.items())
  }
  data = pickled(tree, legacy, monkeypatch)
  if not legacy:
    with zipfile.ZipFile(path, "w") as archive:
      archive.writestr("model/data.pkl", data)
      for number, array in enumerate(arrays.values()):
        archive.writestr(f"model/data/{number}", array.tobytes())
    return
  head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
  parts = [pickle.dumps(value, 2) for value in head] + [data]
  parts.append(pickle.dumps([str(number) for number in range(len(arrays))], 2))
  for array in arrays.values():
    parts += [array.size.to_bytes(8, "little"), array.tobytes()]
  path.write_bytes(b"".join(parts))
