# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The binary format of an example in an ArrayRecord shard.

A record is the number of ids of each feature, little-endian uint32, followed by the
concatenated ids of all features: little-endian uint16, or uint32 if the vocabulary has
more than 65,536 ids.
"""

from collections.abc import Sequence

import numpy as np

_LENGTH = np.dtype("<u4")


def id_dtype(vocabulary_size: int) -> np.dtype:
  """Returns the smallest dtype that holds every id."""
  return np.dtype("<u2" if vocabulary_size <= 2**16 else "<u4")


def pack(features: Sequence[np.ndarray], dtype: np.dtype) -> bytes:
  """Returns the record of an example; its features are integer arrays [n]."""
  lengths = np.array([len(ids) for ids in features], _LENGTH)
  return b"".join(
    [lengths.tobytes(), *(ids.astype(dtype).tobytes() for ids in features)]
  )


def unpack(
  record: bytes, names: Sequence[str], dtype: np.dtype
) -> dict[str, np.ndarray]:
  """Returns the features of a record by name, int32 [n] each."""
  lengths = np.frombuffer(record, _LENGTH, len(names)).tolist()
  ids = np.frombuffer(record, dtype, offset=_LENGTH.itemsize * len(names))
  ids = ids.astype(np.int32)
  features, start = {}, 0
  for name, length in zip(names, lengths, strict=True):
    features[name] = ids[start : start + length]
    start += length
  return features
