# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Where every parameter of a run lies on a mesh; nothing is compiled."""

import math
from typing import NamedTuple

import jax
import ml_collections

from elmer_jax import configuration
from elmer_jax.model import elmer
from elmer_jax.planning import compile_step
from elmer_jax.planning.step_costs import bytes_of


class Placed(NamedTuple):
  """One parameter."""

  name: str  # "decoder/layers/attention/key/kernel"
  shape: tuple[int, ...]
  axes: tuple[str, ...]  # logical
  split: tuple  # for each side, the mesh axes it is split over, or None
  bytes: int  # of all of it
  bytes_per_device: int


class Local(NamedTuple):
  """The parameters, and what the whole state takes."""

  mesh: dict[str, int]
  parameters: list[Placed]
  bytes: dict[str, int]  # of "parameters" and "optimizer"
  bytes_per_device: dict[str, int]


def lay_out(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> Local:
  """Places the state of a run on a mesh, in thought.

  Raises:
    UserError: the mesh doesn't divide the batch or a parameter.
  """
  state = compile_step.abstract_state(compile_step.build(config, mesh))
  sizes = configuration.model_config(config, config.data.vocabulary_size)
  parameters = jax.tree_util.tree_map_with_path(
    _place, state.params, elmer.logical_axes(sizes)
  )
  kinds = {"parameters": state.params, "optimizer": state.opt_state}
  is_placed = lambda leaf: isinstance(leaf, Placed)  # noqa: E731
  return Local(
    dict(mesh.shape),
    jax.tree.leaves(parameters, is_leaf=is_placed),
    {kind: sum(map(_whole, jax.tree.leaves(tree))) for kind, tree in kinds.items()},
    {kind: sum(map(bytes_of, jax.tree.leaves(tree))) for kind, tree in kinds.items()},
  )


def _place(path, leaf: jax.ShapeDtypeStruct, axes: tuple[str, ...]) -> Placed:
  split = tuple(leaf.sharding.spec)
  return Placed(
    jax.tree_util.keystr(path, simple=True, separator="/"),
    leaf.shape,
    axes,
    split + (None,) * (len(leaf.shape) - len(split)),
    _whole(leaf),
    bytes_of(leaf),
  )


def _whole(leaf: jax.ShapeDtypeStruct) -> int:
  return math.prod(leaf.shape) * leaf.dtype.itemsize


def as_json(local: Local) -> dict:
  parameters = [placed._asdict() for placed in local.parameters]
  return local._asdict() | {"parameters": parameters}


def page(local: Local) -> str:
  """Returns the parameters as a table of text, and the totals."""
  rows = [("parameter", "shape", "logical axes", "split over", "MiB", "MiB a device")]
  for placed in local.parameters:
    rows.append(
      (
        placed.name,
        "x".join(map(str, placed.shape)),
        ", ".join(placed.axes),
        ", ".join(_split(axes) for axes in placed.split),
        f"{placed.bytes / 2**20:,.2f}",
        f"{placed.bytes_per_device / 2**20:,.2f}",
      )
    )
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = [
    "  ".join(
      cell.ljust(width) if place < 4 else cell.rjust(width)
      for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ).rstrip()
    for row in rows
  ]
  count = sum(math.prod(placed.shape) for placed in local.parameters)
  mesh = ", ".join(f"{axis} {size}" for axis, size in local.mesh.items())
  lines += ["", f"{count:,} parameters on the mesh {mesh}"]
  for kind, whole in local.bytes.items():
    lines.append(
      f"{kind}: {whole / 2**20:,.2f} MiB, "
      f"{local.bytes_per_device[kind] / 2**20:,.2f} MiB a device"
    )
  return "\n".join(lines)


def _split(axes) -> str:
  if axes is None:
    return "-"
  return axes if isinstance(axes, str) else "+".join(axes)
