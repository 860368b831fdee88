# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The gate of a checkpoint: `gate.npz` in the checkpoint's own folder.

A gate fits the weights of one checkpoint, so it is deleted with them.
"""

import io
import json
import pathlib
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from etils import epath

from elmer_jax.core.atomic_files import replacing
from elmer_jax.core.errors import UserError
from elmer_jax.decoding.gate import gated_decoding
from elmer_jax.decoding.gate.gated_decoding import Gate
from elmer_jax.model.config import ModelConfig

_NAME = "gate.npz"
_ARRAYS = ("weights_LxDx2", "bias_Lx2", "caution_L")  # names in the file, as in `Gate`


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
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
      report = json.loads(str(arrays["text"]))
      gate = Gate(*(jnp.asarray(arrays[name]) for name in _ARRAYS))
      threshold, trim = float(report.pop("threshold")), int(report.pop("trim"))
  except (OSError, ValueError, KeyError, EOFError) as error:
    raise UserError(f"{path} can't be read: delete it and calibrate again") from error
  layers = gated_decoding.layers_of(gate)
  is_of_width = gate.weights_LxDx2.shape == (layers - 1, config.d_model, 2)
  if not is_of_width or not 2 <= layers <= config.decoder_layers:
    raise UserError(f"{path} belongs to another model: delete it and calibrate again")
  return Calibrated(gate, threshold, trim, report)


def _named(gate: Gate):
  return zip(_ARRAYS, gate, strict=True)
