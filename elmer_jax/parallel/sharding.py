# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""From logical axes to shardings, and from host arrays to global ones."""

import dataclasses

import jax
import ml_collections
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from elmer_jax.core.errors import UserError
from elmer_jax.model.config import ModelConfig

BATCH_AXES = ("data", "fsdp")  # of the mesh; the rows of a batch are spread over them
# Logical axes that no device has less than all of.
WHOLE = ("layers", "positions")


@dataclasses.dataclass(frozen=True)
class Layout:
  """A mesh, and rules from the logical axes of the model to its axes."""

  mesh: Mesh
  rules: tuple[tuple[str, tuple[str, ...]], ...]  # logical axis, axes of the mesh

  def axes_of(self, name: str | None) -> tuple[str, ...]:
    """Returns the mesh's axes that a logical axis is spread over."""
    return () if name is None else dict(self.rules)[name]

  def parts(self, name: str | None) -> int:
    """Returns how many parts a logical axis is cut into."""
    return _size(self.mesh, self.axes_of(name))

  def __call__(self, axes: tuple[str | None, ...]) -> NamedSharding:
    """Returns the sharding of an array with these logical axes.

    What two of them want goes to the first: of an activation that is the batch.
    """
    spec, taken = [], set()
    for name in axes:
      free = tuple(axis for axis in self.axes_of(name) if axis not in taken)
      taken.update(free)
      spec.append(free or None)
    return NamedSharding(self.mesh, PartitionSpec(*spec))


def make_layout(config: ml_collections.ConfigDict, mesh: Mesh) -> Layout:
  """Reads `config.mesh.rules`.

  Raises:
    UserError: a rule names an axis that the mesh doesn't have.
  """
  rules = {"batch": BATCH_AXES} | dict.fromkeys(WHOLE, ())
  for name, text in config.mesh.rules.items():
    rules[name] = tuple(axis.strip() for axis in text.split(",") if axis.strip())
    unknown = set(rules[name]) - set(mesh.axis_names)
    if unknown:
      raise UserError(
        f"mesh.rules.{name}={text}: an axis of the mesh is one of "
        f"{', '.join(mesh.axis_names)}, or several with commas"
      )
  return Layout(mesh, tuple(rules.items()))


def of_batch(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of an array [B, ...]."""
  return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def of_parameters(layout: Layout, axes: dict, shapes: dict) -> dict:
  """Returns a sharding for every parameter.

  Args:
    layout: the mesh and its rules.
    axes: nested dict of logical axes, as `model.elmer.logical_axes` gives it.
    shapes: the same nested dict of anything with a `shape`.

  Raises:
    UserError: if a mesh axis doesn't divide a parameter's side, or would have to
      divide two.
  """

  def place(path, array, names) -> NamedSharding:
    where = jax.tree_util.keystr(path, simple=True, separator="/")
    used = [axis for name in names for axis in layout.axes_of(name)]
    if len(used) > len(set(used)):
      raise UserError(
        f"mesh.rules send two sides of {where} {names} to one axis of the mesh"
      )
    for size, name in zip(array.shape, names, strict=True):
      if size % layout.parts(name):
        raise UserError(
          f"{_wanted(layout, name)} must divide the {name!r} side ({size}) of {where}"
        )
    return layout(names)

  return jax.tree_util.tree_map_with_path(place, shapes, axes)


def check_heads(layout: Layout, model: ModelConfig) -> None:
  """Raises `UserError` unless attention heads can be dealt out whole."""
  for side in ("encoder", "decoder"):
    heads = getattr(model, f"{side}_heads")
    if heads % layout.parts("heads"):
      raise UserError(
        f"{_wanted(layout, 'heads')} must divide model.{side}_heads ({heads})"
      )


def _wanted(layout: Layout, name: str) -> str:
  return " × ".join(
    f"mesh.{axis}={layout.mesh.shape[axis]}" for axis in layout.axes_of(name)
  )


def _size(mesh: Mesh, axes: tuple[str, ...]) -> int:
  return int(np.prod([mesh.shape[axis] for axis in axes], dtype=int))


def like_parameters(mesh: Mesh, tree, shapes: dict, shardings: dict):
  """Returns shardings for a tree that holds copies of the parameters' structure.

  Optimizer states do: a leaf whose path ends in a parameter's path, and that has its
  shape, is placed as the parameter is, and one whose shape lacks a side, as factored
  moments do, as what is left of the parameter; anything else is on every device. (Left
  alone, jit would put all of it on every device.)
  """
  leaves = jax.tree_util.tree_leaves_with_path(shapes)
  placed = dict(
    zip((_names(path) for path, _ in leaves), jax.tree.leaves(shardings), strict=True)
  )
  shape_of = {_names(path): leaf.shape for path, leaf in leaves}

  def place(path, leaf) -> NamedSharding:
    names = _names(path)
    for start in range(len(names)):
      shape, place = shape_of.get(names[start:]), placed.get(names[start:])
      if shape == leaf.shape:
        return place
      if shape is not None and len(shape) == leaf.ndim + 1:
        # Of a square matrix only the name tells which side is left (optax's v_row,
        # v_col).
        first = "v_col" in names
        return _without_a_side(place, shape, leaf.shape, first)
    return replicated(mesh)

  return jax.tree_util.tree_map_with_path(place, tree)


def _names(path) -> tuple[str, ...]:
  return tuple(jax.tree_util.keystr((key,), simple=True) for key in path)


def _without_a_side(
  place: NamedSharding, shape: tuple[int, ...], smaller: tuple[int, ...], first: bool
) -> NamedSharding:
  """Places an array of shape `smaller`: `shape` without the first or last such side."""
  spec = [*place.spec, *(None,) * (len(shape) - len(place.spec))]
  sides = range(len(shape))
  for side in sides if first else reversed(sides):
    if shape[:side] + shape[side + 1 :] == smaller:
      return NamedSharding(place.mesh, PartitionSpec(*spec[:side], *spec[side + 1 :]))
  return replicated(place.mesh)


def replicated(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of an array that every device holds whole."""
  return NamedSharding(mesh, PartitionSpec())


def global_batch(mesh: Mesh, rows: dict[str, np.ndarray]) -> dict[str, jax.Array]:
  """Joins every process's rows [B / processes, ...] to global arrays [B, ...]."""
  return {
    name: jax.make_array_from_process_local_data(of_batch(mesh), array)
    for name, array in rows.items()
  }


def from_everywhere(tree: dict, shardings: dict) -> dict:
  """Places arrays that every process has whole; each device gets its part.

  Those that lie where they belong stay.
  """

  def place(array, sharding: NamedSharding) -> jax.Array:
    if getattr(array, "sharding", None) == sharding:
      return array
    array = np.asarray(array)
    return jax.make_array_from_callback(array.shape, sharding, array.__getitem__)

  return jax.tree.map(place, tree, shardings)


def check_batch(mesh: Mesh, batch_size: int, accumulation: int) -> None:
  """Raises `UserError` unless the data axes divide each micro-batch."""
  parts = _size(mesh, BATCH_AXES)
  if (batch_size // accumulation) % parts:
    raise UserError(
      f"data.batch_size {batch_size} / train.grad_accumulation_steps {accumulation} "
      f"must be a multiple of mesh.data × mesh.fsdp ({parts})"
    )
