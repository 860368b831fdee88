# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The gate of a checkpoint: `gate.npz` inside the checkpoint's own folder.

It belongs to these weights and no others, so it goes when they go.
"""

import io
import json
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from etils import epath

from elmer_jax.core.errors import UserError
from elmer_jax.decoding.gate import gated_decoding
from elmer_jax.decoding.gate.gated_decoding import Gate
from elmer_jax.model.config import ModelConfig

_NAME = "gate.npz"
_ARRAYS = ("weights_LxDx2", "bias_Lx2", "caution_L")  # names in the file, as in `Gate`


class Calibrated(NamedTuple):
  """A gate, and what its threshold was chosen for."""

  gate: Gate  # of the layers that a text may run through
  threshold: float
  trim: int  # behind so many layers positions are dropped: see `gated.decode`
  stated: dict[str, Any]  # JSON: measure, loss, confidence, texts, layers, …


def write(folder: epath.Path, calibrated: Calibrated) -> None:
  """Writes the gate into a checkpoint's folder, in place of an older one."""
  gate, threshold, trim, stated = calibrated
  text = json.dumps({"threshold": threshold, "trim": trim, **stated})
  file = io.BytesIO()
  np.savez(file, text=np.array(text), **{k: np.asarray(v) for k, v in _named(gate)})
  temporary = folder / f".{_NAME}"
  temporary.write_bytes(file.getvalue())
  temporary.replace(folder / _NAME)


def read(folder: epath.Path, config: ModelConfig) -> Calibrated | None:
  """Returns the gate of a checkpoint, None where it has none.

  Raises:
    UserError: the file is damaged or of another model.
  """
  path = folder / _NAME
  if not path.exists():
    return None
  try:
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
      stated = json.loads(str(arrays["text"]))
      gate = Gate(*(jnp.asarray(arrays[name]) for name in _ARRAYS))
      threshold, trim = float(stated.pop("threshold")), int(stated.pop("trim"))
  except (OSError, ValueError, KeyError, EOFError) as error:
    raise UserError(f"{path} can't be read: delete it and calibrate again") from error
  layers = gated_decoding.layers_of(gate)
  is_of_width = gate.weights_LxDx2.shape == (layers - 1, config.d_model, 2)
  if not is_of_width or not 2 <= layers <= config.decoder_layers:
    raise UserError(f"{path} belongs to another model: delete it and calibrate again")
  return Calibrated(gate, threshold, trim, stated)


def threshold_of(calibrated: Calibrated | None, threshold: float | None) -> float:
  """Returns the threshold to decode with; by default the one that was calibrated.

  Raises:
    UserError: the checkpoint has no gate, or the threshold is no share.
  """
  if calibrated is None:
    raise UserError(
      "--exit=gated: this checkpoint has no gate; python -m elmer_jax.calibrate makes "
      "one"
    )
  if threshold is None:
    return calibrated.threshold
  gated_decoding.check_threshold(threshold)
  return threshold


def _named(gate: Gate):
  return zip(_ARRAYS, gate, strict=True)
