# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Which steps to try: a topology, a mesh on it, and a batch."""

import copy
import re
from typing import NamedTuple

import jax
import ml_collections

from elmer_jax import configuration
from elmer_jax.core.errors import UserError
from elmer_jax.parallel import chips
from elmer_jax.parallel.mesh import make_mesh
from elmer_jax.planning import step_costs, topologies
from elmer_jax.planning.compile_step import DoesNotFit
from elmer_jax.planning.table import Row
from elmer_jax.planning.topologies import Topology

_AXES = ("data", "fsdp", "tensor")


class Trial(NamedTuple):
  """One step to compile; sizes of None leave the mesh to the configuration."""

  topology: Topology
  sizes: tuple[int, ...] | None


def parse(
  config: ml_collections.ConfigDict,
  topology: str | None,
  mesh: str | None,
  sweep: list[str],
) -> list[Trial]:
  """Returns the steps that the flags of `plan` name, in their order.

  Args:
    config: tells how many slices are joined.
    topology: of entries that name none.
    mesh: of entries that name none, `64,1,1`.
    sweep: entries `v5e:4x4`, `v5e:4x4/8x2x1` or `8x2x1`; empty: one step.

  Raises:
    UserError: a name or a size is not understood.
  """
  sizes = parse_mesh(mesh) if mesh else None
  if not sweep:
    return [Trial(_topology(config, topology), sizes)]
  found = []
  for entry in sweep:
    name, _, own = entry.strip().partition("/")
    if name[:1].isdigit() or name[:1] == "-":
      name, own = None, name
    if not (name or topology):
      raise UserError(f"--sweep: {entry} is a mesh; --topology says of which chips")
    own_sizes = parse_mesh(own) if own else sizes
    found.append(Trial(_topology(config, name or topology), own_sizes))
  return found


def _topology(config: ml_collections.ConfigDict, name: str) -> Topology:
  return topologies.parse(name, config.mesh.slices)


def parse_mesh(text: str) -> tuple[int, ...]:
  """Returns the sizes (data, fsdp, tensor) of `64,1,1` or `64x1x1`."""
  sizes = re.split("[,x]", text)
  if len(sizes) != len(_AXES) or not all(re.fullmatch(r"-?\d+", s) for s in sizes):
    raise UserError(
      f"--mesh={text} is not DATA,FSDP,TENSOR: three sizes, of which one may be -1"
    )
  return tuple(int(size) for size in sizes)


def here(
  config: ml_collections.ConfigDict, mesh: str | None
) -> tuple[ml_collections.ConfigDict, jax.sharding.Mesh]:
  """Returns the configuration, checked, and its mesh on this machine's devices."""
  config = _with_mesh(config, parse_mesh(mesh) if mesh else None)
  configuration.check(config)
  return config, make_mesh(config)


def run(
  config: ml_collections.ConfigDict, trial: Trial, batch_per_chip: int | None
) -> Row:
  """Compiles one step; one that doesn't fit is a row without an account.

  Raises:
    UserError: the configuration, the mesh or the topology can't be used at all.
  """
  config = _with_mesh(config, trial.sizes)
  if batch_per_chip:
    config.data.batch_size = batch_per_chip * trial.topology.chips
  configuration.check(config)
  mesh = make_mesh(config, topologies.devices(trial.topology))
  chip = chips.of_kind(mesh.devices.flat[0].device_kind)
  account, reason = None, ""
  try:
    account = step_costs.of_step(config, mesh, chip)
  except DoesNotFit as error:
    reason = str(error)
  lengths = config.data.source_length + config.data.target_length
  return Row(
    topology=trial.topology.name,
    chips=trial.topology.chips,
    chip=chip.name,
    mesh=dict(mesh.shape),
    batch_size=config.data.batch_size,
    accumulation=config.train.grad_accumulation_steps,
    tokens=config.data.batch_size * lengths,
    account=account,
    reason=reason,
  )


def _with_mesh(
  config: ml_collections.ConfigDict, sizes: tuple[int, ...] | None
) -> ml_collections.ConfigDict:
  config = copy.deepcopy(config)
  if sizes:
    config.mesh.update(dict(zip(_AXES, sizes, strict=True)))
  return config
