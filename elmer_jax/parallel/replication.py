# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A check that fsdp shards nearly all of the training state."""

import math

import jax
from absl import logging
from jax.sharding import Mesh

from elmer_jax.core.errors import UserError

_MAX_REPLICATED = 0.02  # of the state's bytes
# In a smaller state biases and norms weigh more, and replicating them costs nothing.
_SMALL_STATE_BYTES = 100 * 2**20


def limit_replication(mesh: Mesh, shapes, shardings) -> None:
  """With fsdp, allows at most 2 % of a state's bytes on every device in full.

  Above that a state under 100 MiB gets a warning, a larger one an error.

  Args:
    mesh: without an fsdp axis (size 1) nothing is checked.
    shapes: a tree of anything with shape and dtype.
    shardings: the same tree of shardings.

  Raises:
    UserError: more is replicated, and the state is large.
  """
  if mesh.shape["fsdp"] == 1:
    return
  sizes = jax.tree.map(lambda x: math.prod(x.shape) * x.dtype.itemsize, shapes)
  total = sum(jax.tree.leaves(sizes))
  replicated = {
    jax.tree_util.keystr(path, simple=True, separator="/"): size
    for (path, size), place in zip(
      jax.tree_util.tree_leaves_with_path(sizes),
      jax.tree.leaves(shardings),
      strict=True,
    )
    if place.is_fully_replicated
  }
  size = sum(replicated.values())
  if size <= _MAX_REPLICATED * total:
    return
  largest = sorted(replicated, key=lambda name: -replicated[name])[:3]
  message = (
    f"mesh.fsdp={mesh.shape['fsdp']} leaves {size / total:.1%} of the training state "
    f"({size / 2**20:.1f} of {total / 2**20:.1f} MiB) replicated on every device: "
    f"{', '.join(largest)}, …"
  )
  if total >= _SMALL_STATE_BYTES:
    raise UserError(f"{message}: let mesh.rules shard them over fsdp")
  logging.warning("%s", message)
