# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A checksum of each array of a checkpoint, and whether its numbers are finite.

They are computed where the array is, in one pass, and do not depend on how it is
sharded: a checksum is the sum, modulo 2**32, of a hash of each element's bits and
index. A changed bit changes it; other changes pass with a probability of 2**-32.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Summary(NamedTuple):
  """What is known of an array."""

  checksum: int
  is_finite: bool


def summaries(tree: dict) -> dict[str, Summary]:
  """Returns the summary of each array of nested dicts, by its path."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
  found_Nx2 = np.asarray(_summaries([leaf for _, leaf in leaves]))
  return {
    name: Summary(int(checksum), bool(is_finite))
    for name, (checksum, is_finite) in zip(names, found_Nx2, strict=True)
  }


def problem(tree: dict, expected: Mapping[str, int]) -> str | None:
  """Returns what is wrong with arrays that were read, None if nothing is.

  Args:
    tree: nested dicts of arrays.
    expected: checksums by path; an array without one is not compared.
  """
  for name, found in summaries(tree).items():
    if found.checksum != expected.get(name, found.checksum):
      return f"{name} is not what was saved: its checksum differs"
    if not found.is_finite:
      return f"{name} has numbers that are not finite"
  return None


@jax.jit
def _summaries(leaves: list[jax.Array]) -> jax.Array:
  """Returns checksum and 0 or 1 for each array, [N, 2] uint32."""
  rows = [[_checksum(leaf), jnp.isfinite(leaf).all()] for leaf in leaves]
  return jnp.array(rows, jnp.uint32).reshape(-1, 2)


def _checksum(array: jax.Array) -> jax.Array:
  bits = jax.lax.bitcast_convert_type(array, f"uint{8 * array.dtype.itemsize}")
  index = jnp.zeros(array.shape, jnp.uint32)
  for axis, size in enumerate(array.shape):
    position = jax.lax.broadcasted_iota(jnp.uint32, array.shape, axis)
    index = index * np.uint32(size) + position
  # The last step of MurmurHash3 for 32 bits.
  hashed = bits.astype(jnp.uint32) + index * np.uint32(0x9E3779B1)
  hashed = (hashed ^ (hashed >> 16)) * np.uint32(0x85EBCA6B)
  hashed = (hashed ^ (hashed >> 13)) * np.uint32(0xC2B2AE35)
  return (hashed ^ (hashed >> 16)).sum(dtype=jnp.uint32)
