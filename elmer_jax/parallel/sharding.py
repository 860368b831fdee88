# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""From logical axes to shardings, and from host arrays to global ones."""

import dataclasses
import math

import jax
import ml_collections
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from elmer_jax.core.errors import UserError
from elmer_jax.model.config import ModelConfig

BATCH_AXES = ("data", "fsdp")  # mesh axes that shard the rows of a batch
REPLICATED = ("layers", "positions")  # logical axes that are never sharded


@dataclasses.dataclass(frozen=True)
class ShardingRules:
  """A mesh, and rules from the logical axes of the model to its axes."""

  mesh: Mesh
  rules: tuple[tuple[str, tuple[str, ...]], ...]  # logical axis, mesh axes

  def mesh_axes(self, name: str | None) -> tuple[str, ...]:
    """Returns the mesh axes that shard a logical axis."""
    return () if name is None else dict(self.rules)[name]

  def num_shards(self, name: str | None) -> int:
    """Returns into how many shards a logical axis is divided."""
    return _size(self.mesh, self.mesh_axes(name))

  def __call__(self, axes: tuple[str | None, ...]) -> NamedSharding:
    """Returns the sharding of an array with these logical axes.

    A mesh axis that two of them claim goes to the first: in an activation, the batch.
    """
    spec, used = [], set()
    for name in axes:
      free = tuple(axis for axis in self.mesh_axes(name) if axis not in used)
      used.update(free)
      spec.append(free or None)
    return NamedSharding(self.mesh, PartitionSpec(*spec))


def make_sharding_rules(config: ml_collections.ConfigDict, mesh: Mesh) -> ShardingRules:
  """Reads `config.mesh.rules`.

  Raises:
    UserError: a rule names an axis that the mesh doesn't have.
  """
  rules = {"batch": BATCH_AXES} | dict.fromkeys(REPLICATED, ())
  for name, text in config.mesh.rules.items():
    rules[name] = tuple(axis.strip() for axis in text.split(",") if axis.strip())
    unknown = set(rules[name]) - set(mesh.axis_names)
    if unknown:
      raise UserError(
        f"mesh.rules.{name}={text}: an axis of the mesh is one of "
        f"{', '.join(mesh.axis_names)}, or several with commas"
      )
  return ShardingRules(mesh, tuple(rules.items()))


def replicated(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of an array that every device has in full."""
  return NamedSharding(mesh, PartitionSpec())


def param_shardings(rules: ShardingRules, axes: dict, shapes: dict) -> dict:
  """Returns a sharding for every parameter.

  Args:
    rules: of the run.
    axes: nested dict of logical axes, from `model.elmer.logical_axes`.
    shapes: the same nested dict of anything with a `shape`.

  Raises:
    UserError: a mesh axis doesn't divide a dimension of a parameter, or would shard
      two of them.
  """

  def place(path, array, names) -> NamedSharding:
    parameter = jax.tree_util.keystr(path, simple=True, separator="/")
    used = [axis for name in names for axis in rules.mesh_axes(name)]
    if len(used) > len(set(used)):
      raise UserError(
        f"mesh.rules shard two dimensions of {parameter} {names} over one mesh axis"
      )
    for size, name in zip(array.shape, names, strict=True):
      if size % rules.num_shards(name):
        raise UserError(
          f"{_sizes(rules, name)} must divide the {name!r} dimension ({size}) of "
          f"{parameter}"
        )
    return rules(names)

  return jax.tree_util.tree_map_with_path(place, shapes, axes)


def check_heads(rules: ShardingRules, model: ModelConfig) -> None:
  """Raises `UserError` unless the heads axis divides the attention heads."""
  for side in ("encoder", "decoder"):
    heads = getattr(model, f"{side}_heads")
    if heads % rules.num_shards("heads"):
      raise UserError(
        f"{_sizes(rules, 'heads')} must divide model.{side}_heads ({heads})"
      )


def _sizes(rules: ShardingRules, name: str) -> str:
  return " × ".join(
    f"mesh.{axis}={rules.mesh.shape[axis]}" for axis in rules.mesh_axes(name)
  )


def _size(mesh: Mesh, axes: tuple[str, ...]) -> int:
  return math.prod(mesh.shape[axis] for axis in axes)


def optimizer_shardings(mesh: Mesh, state, shapes: dict, shardings: dict):
  """Returns shardings for an optimizer state, which jit would otherwise replicate.

  A leaf whose path ends in a parameter's path and that has its shape gets the
  parameter's sharding; one that lacks a dimension, as factored moments do, that of the
  remaining dimensions; any other leaf is replicated.

  Args:
    mesh: of the run.
    state: tree of the optimizer state's shapes.
    shapes: nested dict of the parameters' shapes.
    shardings: the same nested dict of shardings.
  """
  leaves = jax.tree_util.tree_leaves_with_path(shapes)
  parameters = {
    _keys(path): (leaf.shape, place)
    for (path, leaf), place in zip(leaves, jax.tree.leaves(shardings), strict=True)
  }

  def place(path, leaf) -> NamedSharding:
    keys = _keys(path)
    for start in range(len(keys)):
      shape, sharding = parameters.get(keys[start:], (None, None))
      if shape == leaf.shape:
        return sharding
      if shape is not None and len(shape) == leaf.ndim + 1:
        # Optax calls the two factors v_row and v_col: of a square matrix only the name
        # tells which dimension is left.
        return _drop_dimension(sharding, shape, leaf.shape, first="v_col" in keys)
    return replicated(mesh)

  return jax.tree_util.tree_map_with_path(place, state)


def _keys(path) -> tuple[str, ...]:
  return tuple(jax.tree_util.keystr((key,), simple=True) for key in path)


def _drop_dimension(
  sharding: NamedSharding,
  shape: tuple[int, ...],
  reduced_shape: tuple[int, ...],
  first: bool,
) -> NamedSharding:
  """Returns the sharding without the first or last dimension that was reduced."""
  spec = [*sharding.spec, *(None,) * (len(shape) - len(sharding.spec))]
  dimensions = range(len(shape))
  for dim in dimensions if first else reversed(dimensions):
    if shape[:dim] + shape[dim + 1 :] == reduced_shape:
      return NamedSharding(sharding.mesh, PartitionSpec(*spec[:dim], *spec[dim + 1 :]))
  return replicated(sharding.mesh)


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of an array [B, ...]."""
  return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def check_batch(mesh: Mesh, batch_size: int, grad_accumulation_steps: int) -> None:
  """Raises `UserError` unless the batch axes divide each micro-batch."""
  shards = _size(mesh, BATCH_AXES)
  if (batch_size // grad_accumulation_steps) % shards:
    raise UserError(
      f"data.batch_size {batch_size} / train.grad_accumulation_steps "
      f"{grad_accumulation_steps} must be a multiple of mesh.data × mesh.fsdp "
      f"({shards})"
    )


def rows_of_process(
  mesh: Mesh, batch_size: int, process_index: int | None = None
) -> np.ndarray:
  """Returns the rows of a global batch that a process reads, sorted, int64 [rows].

  These are the rows that its own devices hold, contiguous or not: on a TPU the devices
  of a host are a block of the torus. Processes along a tensor axis read the same rows.

  Args:
    mesh: of the run; its batch axes divide `batch_size`.
    batch_size: rows of the global batch.
    process_index: by default this process.
  """
  if process_index is None:
    process_index = jax.process_index()
  slices = batch_sharding(mesh).devices_indices_map((batch_size,))
  rows = np.arange(batch_size)
  held = [
    rows[index]
    for device, index in slices.items()
    if device.process_index == process_index
  ]
  return np.unique(np.concatenate(held))


def global_batch(mesh: Mesh, rows: dict[str, np.ndarray]) -> dict[str, jax.Array]:
  """Builds the global arrays [B, ...] of a batch, each process giving its own rows.

  Args:
    mesh: of the run.
    rows: arrays [rows, ...] with the rows that `rows_of_process` names, in its order.
  """
  sharding = batch_sharding(mesh)
  count = _size(mesh, BATCH_AXES)
  shards = rows_of_process(mesh, count)  # that this process holds

  def build(local: np.ndarray) -> jax.Array:
    shard_rows = len(local) // len(shards)

    def read_shard(index: tuple[slice, ...]) -> np.ndarray:
      shard = (index[0].start or 0) // shard_rows
      first = np.searchsorted(shards, shard) * shard_rows
      return local[first : first + shard_rows]

    shape = (count * shard_rows, *local.shape[1:])
    return jax.make_array_from_callback(shape, sharding, read_shard)

  return {name: build(local) for name, local in rows.items()}


def shard_host_arrays(tree: dict, shardings: dict) -> dict:
  """Shards arrays that every process has in full; those already sharded so are kept."""

  def place(array, sharding: NamedSharding) -> jax.Array:
    if getattr(array, "sharding", None) == sharding:
      return array
    array = np.asarray(array)
    return jax.make_array_from_callback(array.shape, sharding, array.__getitem__)

  return jax.tree.map(place, tree, shardings)
