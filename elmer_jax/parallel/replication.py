# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""With fsdp, next to nothing of a state lies whole on every device."""

import math

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from elmer_jax.core.errors import UserError

WHOLE_SHARE = 0.02  # of a tree's bytes that may lie whole on every device


def spread(mesh: Mesh, shapes, shardings, what: str):
  """Returns shardings under which at most 2 % of the bytes lie whole on every device.

  The rules leave biases and norms whole, which is nothing beside the matrices of a
  large model. It is much of a small model, and half of a factored optimizer state: so
  the largest of them are cut over `fsdp` too, along a side that it divides, until the
  rest is small enough.

  Args:
    mesh: the mesh; where fsdp is 1, nothing changes.
    shapes: a tree of anything with shape and dtype.
    shardings: the same tree of shardings, by the rules.
    what: this tree's name, for the message.

  Raises:
    UserError: fsdp divides too little of it.
  """
  parts = mesh.shape["fsdp"]
  if parts == 1:
    return shardings
  paths, tree = jax.tree_util.tree_flatten_with_path(shapes)
  leaves = [leaf for _, leaf in paths]
  placed = jax.tree.leaves(shardings)
  sizes = [math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves]
  whole = [index for index, place in enumerate(placed) if place.is_fully_replicated]
  whole.sort(key=lambda index: -sizes[index])
  allowed = WHOLE_SHARE * sum(sizes)
  left = sum(sizes[index] for index in whole)
  undivided = []
  for index in whole:
    if left <= allowed:
      return jax.tree.unflatten(tree, placed)
    side = _divided_side(leaves[index].shape, parts)
    if side is None:
      undivided.append(index)
      continue
    spec = PartitionSpec(*(None,) * side, "fsdp")
    placed[index] = NamedSharding(mesh, spec)
    left -= sizes[index]
  if left <= allowed:
    return jax.tree.unflatten(tree, placed)
  names = ", ".join(
    jax.tree_util.keystr(paths[index][0], simple=True, separator="/")
    for index in undivided[:3]
  )
  raise UserError(
    f"mesh.fsdp={parts} leaves {left / sum(sizes):.0%} of the {what} whole on every "
    f"device: it divides no side of {names}"
  )


def _divided_side(shape: tuple[int, ...], parts: int) -> int | None:
  """Returns the longest side that `parts` divides; None if there is none."""
  sides = [side for side, size in enumerate(shape) if size and size % parts == 0]
  return max(sides, key=lambda side: shape[side], default=None)
