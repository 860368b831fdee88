# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""From logical axes to shardings, and from host arrays to global ones."""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from elmer_jax.errors import UserError

# Logical axis → mesh axis. The batch is split over both data axes; of each matrix one
# side goes to `tensor` and the other to `fsdp`.
RULES = {
  "batch": ("data", "fsdp"),
  "vocab": "tensor",
  "heads": "tensor",
  "mlp": "tensor",
  "embed": "fsdp",
  "positions": None,
  "norm": None,
  "layers": None,
}


def of_axes(mesh: Mesh, axes: tuple[str, ...]) -> NamedSharding:
  """Returns the sharding of an array with these logical axes."""
  return NamedSharding(mesh, PartitionSpec(*(RULES[axis] for axis in axes)))


def of_parameters(mesh: Mesh, axes: dict, shapes: dict) -> dict:
  """Returns a sharding for every parameter.

  Args:
    mesh: the mesh.
    axes: nested dict of logical axes, as `model.elmer.logical_axes` gives it.
    shapes: the same nested dict of anything with a `shape`.

  Raises:
    UserError: if a mesh axis doesn't divide a parameter's side.
  """

  def place(path, array, names) -> NamedSharding:
    sharding = of_axes(mesh, names)
    for size, name in zip(array.shape, names, strict=True):
      parts = mesh.shape.get(RULES[name], 1) if RULES[name] else 1
      if size % parts:
        raise UserError(
          f"mesh.{RULES[name]}={parts} must divide the {name!r} side ({size}) of "
          f"{jax.tree_util.keystr(path, simple=True, separator='/')}"
        )
    return sharding

  return jax.tree_util.tree_map_with_path(place, shapes, axes)


def like_parameters(mesh: Mesh, tree, shapes: dict, shardings: dict):
  """Returns shardings for a tree that holds copies of the parameters' structure.

  Optimizer states do: a leaf whose path ends in a parameter's path, and that has its
  shape, is placed as the parameter is; anything else is on every device. (Left alone,
  jit would put all of it on every device.)
  """
  leaves = jax.tree_util.tree_leaves_with_path(shapes)
  placed = dict(
    zip((_names(path) for path, _ in leaves), jax.tree.leaves(shardings), strict=True)
  )
  shape_of = {_names(path): leaf.shape for path, leaf in leaves}

  def place(path, leaf) -> NamedSharding:
    names = _names(path)
    for start in range(len(names)):
      if shape_of.get(names[start:]) == leaf.shape:
        return placed[names[start:]]
    return replicated(mesh)

  return jax.tree_util.tree_map_with_path(place, tree)


def _names(path) -> tuple[str, ...]:
  return tuple(jax.tree_util.keystr((key,), simple=True) for key in path)


def replicated(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of an array that every device holds whole."""
  return NamedSharding(mesh, PartitionSpec())


def global_batch(mesh: Mesh, rows: dict[str, np.ndarray]) -> dict[str, jax.Array]:
  """Joins every process's rows [B / processes, ...] to global arrays [B, ...]."""
  sharding = of_axes(mesh, ("batch",))
  return {
    name: jax.make_array_from_process_local_data(sharding, array)
    for name, array in rows.items()
  }


def from_everywhere(tree: dict, shardings: dict) -> dict:
  """Places arrays that every process has whole; each device gets its part."""

  def place(array, sharding: NamedSharding) -> jax.Array:
    array = np.asarray(array)
    return jax.make_array_from_callback(array.shape, sharding, array.__getitem__)

  return jax.tree.map(place, tree, shardings)


def check_batch(mesh: Mesh, batch_size: int, accumulation: int) -> None:
  """Raises `UserError` unless the data axes divide each micro-batch."""
  parts = mesh.shape["data"] * mesh.shape["fsdp"]
  if (batch_size // accumulation) % parts:
    raise UserError(
      f"data.batch_size {batch_size} / train.accumulation {accumulation} must be a "
      f"multiple of mesh.data × mesh.fsdp ({parts})"
    )
