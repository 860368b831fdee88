# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The training steps to compile: each a topology and a mesh on it."""

import copy
import re
from typing import NamedTuple

import jax
import ml_collections

from elmer_jax import configuration
from elmer_jax.core.errors import UserError
from elmer_jax.parallel import chips
from elmer_jax.parallel.mesh import AXES, make_mesh
from elmer_jax.planning import step_costs, topologies
from elmer_jax.planning.compile_step import DoesNotFit
from elmer_jax.planning.table import PlannedStep
from elmer_jax.planning.topologies import Topology


class Candidate(NamedTuple):
  """One step to compile."""

  topology: Topology
  mesh_sizes: tuple[int, ...] | None  # None: those of the configuration


def parse_candidates(
  config: ml_collections.ConfigDict,
  topology: str | None,
  mesh: str | None,
  sweep: list[str],
) -> list[Candidate]:
  """Returns the steps that the flags of `plan` name, in their order.

  Args:
    config: its `mesh.slices` slices are joined.
    topology: of entries that name none.
    mesh: of entries that name none, `64,1,1`.
    sweep: entries `v5e:4x4`, `v5e:4x4/8x2x1` or `8x2x1`; empty: one step.

  Raises:
    UserError: a name or a size is invalid.
  """
  sizes = parse_mesh(mesh) if mesh else None
  if not sweep:
    return [Candidate(topologies.parse(topology, config.mesh.slices), sizes)]
  candidates = []
  for entry in sweep:
    name, _, own_mesh = entry.strip().partition("/")
    if name[:1].isdigit() or name[:1] == "-":
      name, own_mesh = topology, name
    if not (name or topology):
      raise UserError(f"--sweep: {entry} is a mesh: add --topology")
    candidates.append(
      Candidate(
        topologies.parse(name or topology, config.mesh.slices),
        parse_mesh(own_mesh) if own_mesh else sizes,
      )
    )
  return candidates


def parse_mesh(text: str) -> tuple[int, ...]:
  """Returns the sizes (data, fsdp, tensor) of `64,1,1` or `64x1x1`."""
  sizes = re.split("[,x]", text)
  if len(sizes) != len(AXES) or not all(re.fullmatch(r"-?\d{1,9}", s) for s in sizes):
    raise UserError(
      f"--mesh={text} is not DATA,FSDP,TENSOR: three sizes, of which one may be -1"
    )
  return tuple(int(size) for size in sizes)


def local_mesh(
  config: ml_collections.ConfigDict, mesh: str | None
) -> tuple[ml_collections.ConfigDict, jax.sharding.Mesh]:
  """Returns the configuration, checked, and its mesh on this machine's devices."""
  config = _with_mesh(config, parse_mesh(mesh) if mesh else None)
  configuration.check(config)
  return config, make_mesh(config)


def plan(
  config: ml_collections.ConfigDict, candidate: Candidate, batch_per_chip: int | None
) -> PlannedStep:
  """Compiles one step; if it doesn't fit, the result has no costs.

  Raises:
    UserError: the configuration, the mesh or the topology is invalid.
  """
  topology = candidate.topology
  config = _with_mesh(config, candidate.mesh_sizes)
  if batch_per_chip:
    config.data.batch_size = batch_per_chip * topology.chips
  configuration.check(config)
  mesh = make_mesh(config, topologies.devices(topology))
  chip = chips.of_kind(mesh.devices.flat[0].device_kind)
  costs, reason = None, ""
  try:
    costs = step_costs.measure(config, mesh, chip)
  except DoesNotFit as error:
    reason = str(error)
  lengths = configuration.encoder_positions(config) + config.data.target_length
  return PlannedStep(
    topology=topology.name,
    chips=topology.chips,
    chip=chip.name,
    mesh=dict(mesh.shape),
    batch_size=config.data.batch_size,
    grad_accumulation_steps=config.train.grad_accumulation_steps,
    tokens=config.data.batch_size * lengths,
    rows_per_process=step_costs.rows_per_process(config, mesh),
    costs=costs,
    reason=reason,
  )


def _with_mesh(
  config: ml_collections.ConfigDict, sizes: tuple[int, ...] | None
) -> ml_collections.ConfigDict:
  config = copy.deepcopy(config)
  if sizes:
    config.mesh.update(dict(zip(AXES, sizes, strict=True)))
  return config
