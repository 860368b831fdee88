# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The gate of a checkpoint: `gate.npz` in the checkpoint's own folder.

A gate fits the weights of one checkpoint, so it is deleted with them.
"""

import io
import json
import pathlib
import zipfile
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from etils import epath

from elmer_jax.core.atomic_files import replacing
from elmer_jax.core.errors import UserError
from elmer_jax.core.json_files import parse_object
from elmer_jax.decoding.gate import gated_decoding
from elmer_jax.decoding.gate.gated_decoding import Gate
from elmer_jax.model.config import ModelConfig

_NAME = "gate.npz"
_ARRAYS = ("weights_LxDx2", "bias_Lx2", "caution_L")  # names in the file, as in `Gate`

_FIELDS = {"threshold": float, "trim": int}
_MAX_BYTES = 2**28  # a gate has some numbers for each layer and each unit of its width
_REMEDY = "delete it and calibrate again"


class Calibrated(NamedTuple):
  """A gate with the threshold that calibration chose."""

  gate: Gate  # of the layers that a text may run through
  threshold: float
  trim: int  # layers after which positions are dropped: see `gated_decoding.decode`
  report: dict[str, Any]  # JSON: measure, loss, confidence, texts, layers, …


def write(folder: epath.Path, calibrated: Calibrated) -> None:
  """Writes the gate into a checkpoint's folder and replaces an older one."""
  gate, threshold, trim, report = calibrated
  text = json.dumps({"threshold": threshold, "trim": trim, **report})
  file = io.BytesIO()
  np.savez(file, text=np.array(text), **{k: np.asarray(v) for k, v in _named(gate)})
  with replacing(pathlib.Path(folder / _NAME)) as temporary:
    temporary.write_bytes(file.getvalue())


def read(folder: epath.Path, config: ModelConfig) -> Calibrated | None:
  """Returns the gate of a checkpoint; None if it has none.

  Raises:
    UserError: the file is damaged or of another model.
  """
  path = folder / _NAME
  if not path.exists():
    return None
  try:
    arrays = _read_arrays(path)
    report = parse_object(str(arrays.pop("text")), str(path), _FIELDS)
    gate = Gate(*(jnp.asarray(arrays[name], jnp.float32) for name in _ARRAYS))
    is_finite = all(np.isfinite(arrays[name]).all() for name in _ARRAYS)
    threshold, trim = float(report.pop("threshold")), report.pop("trim")
  except Exception as error:  # NumPy raises anything for a damaged file
    raise UserError(f"{path} can't be read: {_REMEDY}") from error
  if not (is_finite and 0 <= threshold <= 1 and 0 <= trim < config.decoder_layers):
    raise UserError(f"{path} has numbers that are no gate's: {_REMEDY}")
  layers = gated_decoding.layers_of(gate)
  expected = ((layers - 1, config.d_model, 2), (layers - 1, 2), (layers - 1,))
  is_of_width = tuple(array.shape for array in gate) == expected
  if not is_of_width or not 2 <= layers <= config.decoder_layers:
    raise UserError(f"{path} belongs to another model: {_REMEDY}")
  return Calibrated(gate, threshold, trim, report)


def _read_arrays(path: epath.Path) -> dict[str, np.ndarray]:
  data = io.BytesIO(path.read_bytes())
  with zipfile.ZipFile(data) as archive:
    if sum(entry.file_size for entry in archive.infolist()) > _MAX_BYTES:
      raise ValueError("too large for a gate")
  with np.load(data, allow_pickle=False) as arrays:
    return {name: arrays[name] for name in ("text", *_ARRAYS)}


def _named(gate: Gate):
  return zip(_ARRAYS, gate, strict=True)
