# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""How every parameter of a run is sharded over a mesh; nothing is compiled."""

import math
from typing import NamedTuple

import jax
import ml_collections

from elmer_jax import configuration
from elmer_jax.model import elmer
from elmer_jax.planning import compile_step
from elmer_jax.planning.step_costs import bytes_per_device


class Parameter(NamedTuple):
  """One parameter and its sharding."""

  name: str  # "decoder/layers/attention/key/kernel"
  shape: tuple[int, ...]
  axes: tuple[str, ...]  # logical
  split: tuple  # for each dimension, the mesh axes that shard it, or None
  bytes: int
  bytes_per_device: int


class ParameterTable(NamedTuple):
  """The parameters, and the bytes of the whole training state."""

  mesh: dict[str, int]
  parameters: list[Parameter]
  bytes: dict[str, int]  # of "parameters" and "optimizer"
  bytes_per_device: dict[str, int]


def make_table(
  config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh
) -> ParameterTable:
  """Returns the shardings of a run's training state.

  Raises:
    UserError: the mesh doesn't divide the batch or a parameter.
  """
  state = compile_step.abstract_state(compile_step.build(config, mesh))
  sizes = configuration.model_config(config, config.data.vocabulary_size)
  parameters = jax.tree_util.tree_map_with_path(
    _describe, state.params, elmer.logical_axes(sizes)
  )
  kinds = {"parameters": state.params, "optimizer": state.opt_state}
  kinds = {kind: jax.tree.leaves(tree) for kind, tree in kinds.items()}
  return ParameterTable(
    dict(mesh.shape),
    jax.tree.leaves(parameters, is_leaf=lambda leaf: isinstance(leaf, Parameter)),
    {kind: sum(map(_bytes, leaves)) for kind, leaves in kinds.items()},
    {kind: sum(map(bytes_per_device, leaves)) for kind, leaves in kinds.items()},
  )


def _describe(path, leaf: jax.ShapeDtypeStruct, axes: tuple[str, ...]) -> Parameter:
  split = tuple(leaf.sharding.spec)
  return Parameter(
    jax.tree_util.keystr(path, simple=True, separator="/"),
    leaf.shape,
    axes,
    split + (None,) * (len(leaf.shape) - len(split)),
    _bytes(leaf),
    bytes_per_device(leaf),
  )


def _bytes(leaf: jax.ShapeDtypeStruct) -> int:
  return math.prod(leaf.shape) * leaf.dtype.itemsize


def as_json(table: ParameterTable) -> dict:
  parameters = [parameter._asdict() for parameter in table.parameters]
  return table._asdict() | {"parameters": parameters}


def format_table(table: ParameterTable) -> str:
  """Returns the totals, then a row for each parameter, the largest first."""
  count = sum(math.prod(parameter.shape) for parameter in table.parameters)
  mesh = ", ".join(f"{axis} {size}" for axis, size in table.mesh.items())
  lines = [f"{count:,} parameters on the mesh {mesh}"]
  for kind, size in table.bytes.items():
    lines.append(
      f"{kind}: {size / 2**20:,.2f} MiB, "
      f"{table.bytes_per_device[kind] / 2**20:,.2f} MiB a device"
    )
  rows = [("parameter", "shape", "logical axes", "sharded over", "MiB", "MiB a device")]
  for parameter in sorted(table.parameters, key=lambda p: p.bytes, reverse=True):
    rows.append(
      (
        parameter.name,
        "x".join(map(str, parameter.shape)),
        ", ".join(parameter.axes),
        ", ".join(_mesh_axes(axes) for axes in parameter.split),
        f"{parameter.bytes / 2**20:,.2f}",
        f"{parameter.bytes_per_device / 2**20:,.2f}",
      )
    )
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines.append("")
  for row in rows:
    text = [cell.ljust(width) for cell, width in zip(row[:4], widths, strict=False)]
    figures = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)][4:]
    lines.append("  ".join(text + figures))
  return "\n".join(lines)


def _mesh_axes(axes) -> str:
  if axes is None:
    return "-"
  return axes if isinstance(axes, str) else "+".join(axes)
