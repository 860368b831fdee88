# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Files of named NumPy arrays (`.npz`) that accompany a checkpoint."""

import io
import pathlib
import zipfile
from collections.abc import Mapping

import numpy as np

from elmer_jax.core.atomic_files import replacing
from elmer_jax.core.errors import UserError


def write(path: pathlib.Path, arrays: Mapping[str, object]) -> None:
  """Writes arrays; raises what `replacing` raises."""
  file = io.BytesIO()
  np.savez(file, **{name: np.asarray(array) for name, array in arrays.items()})
  with replacing(path) as temporary:
    temporary.write_bytes(file.getvalue())


def read(path: pathlib.Path, most_bytes: int, remedy: str) -> dict[str, np.ndarray]:
  """Reads all arrays of a file; nothing is unpickled.

  Args:
    path: of the file.
    most_bytes: that the arrays may have together.
    remedy: what to do about a damaged file, for the error.

  Raises:
    UserError: the file is damaged or too large.
  """
  try:
    data = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(data) as archive:
      if sum(entry.file_size for entry in archive.infolist()) > most_bytes:
        raise ValueError("too large")
    with np.load(data, allow_pickle=False) as arrays:
      return {name: arrays[name] for name in arrays.files}
  except Exception as error:  # NumPy raises anything for a damaged file
    raise UserError(f"{path} can't be read: {remedy}") from error
