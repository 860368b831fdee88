# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The gate of a checkpoint: `gate.npz` in the checkpoint's own folder.

A gate fits the weights of one checkpoint, so it is deleted with them.
"""

import json
import pathlib
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from etils import epath

from elmer_jax.core import array_files
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
  arrays = {"text": text, **dict(zip(_ARRAYS, gate, strict=True))}
  array_files.write(pathlib.Path(folder / _NAME), arrays)


def read(folder: epath.Path, config: ModelConfig) -> Calibrated | None:
  """Returns the gate of a checkpoint; None if it has none.

  Raises:
    UserError: the file is damaged or of another model.
  """
  path = folder / _NAME
  if not path.exists():
    return None
  arrays = array_files.read(pathlib.Path(path), _MAX_BYTES, _REMEDY)
  try:
    report = parse_object(str(arrays.pop("text")), str(path), _FIELDS)
    gate = Gate(*(jnp.asarray(arrays[name], jnp.float32) for name in _ARRAYS))
    is_finite = all(np.isfinite(arrays[name]).all() for name in _ARRAYS)
    threshold, trim = float(report.pop("threshold")), report.pop("trim")
  except (KeyError, ValueError, TypeError, UserError) as error:
    raise UserError(f"{path} can't be read: {_REMEDY}") from error
  if not (is_finite and 0 <= threshold <= 1 and 0 <= trim < config.decoder_layers):
    raise UserError(f"{path} has numbers that are no gate's: {_REMEDY}")
  layers = gated_decoding.layers_of(gate)
  expected = ((layers - 1, config.d_model, 2), (layers - 1, 2), (layers - 1,))
  is_of_width = tuple(array.shape for array in gate) == expected
  if not is_of_width or not 2 <= layers <= config.decoder_layers:
    raise UserError(f"{path} belongs to another model: {_REMEDY}")
  return Calibrated(gate, threshold, trim, report)
