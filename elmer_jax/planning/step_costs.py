# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What a compiled step needs of each chip, and how fast the chip could be at best."""

import math
from typing import NamedTuple

import jax
import ml_collections
import numpy as np

from elmer_jax import configuration
from elmer_jax.checkpoints.train_state import TrainState
from elmer_jax.model import flops
from elmer_jax.parallel.chips import Chip
from elmer_jax.planning import compile_step, hlo


class Account(NamedTuple):
  """Of one step on one mesh. Bytes are a chip's; a step is an update."""

  bytes: dict[str, int]  # by kind
  memory: int  # bytes that a chip has
  sent: dict[str, float]  # bytes sent in a step, by kind of collective
  sent_across_slices: float  # of these, by collectives that join slices
  flops: float  # the model's own, of a whole step over all chips
  bounds: dict[str, float]  # seconds that a step takes at least, by what limits it
  seconds: float  # that compiling took
  cpu_seconds: float

  @property
  def total_bytes(self) -> int:
    return sum(self.bytes.values())

  @property
  def fits(self) -> bool:
    return self.total_bytes <= self.memory

  @property
  def bound(self) -> float:
    """Seconds; the limits may overlap perfectly, so the largest counts alone."""
    return max(self.bounds.values())


def of_step(
  config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh, chip: Chip
) -> Account:
  """Compiles a run's step for a mesh of such chips and reads what it needs.

  Raises:
    UserError: the mesh doesn't divide what it has to, or the step doesn't fit.
  """
  program = compile_step.build(config, mesh)
  compiled = compile_step.compile_step(program, config, mesh)
  size = mesh.devices.size
  by_kind = _bytes(
    compile_step.abstract_state(program),
    compile_step.abstract_batch(config, mesh),
    compiled.step.memory_analysis(),
  )
  found = hlo.collectives(compiled.step.as_text(), size)
  sent = hlo.sent_by_kind(found)
  slices = np.array([slice_of(device) for device in mesh.devices.flat])
  across = [one for one in found if hlo.crosses(one, slices)]
  operations = flops_of_step(config)
  return Account(
    bytes=by_kind,
    memory=chip.memory,
    sent=sent,
    sent_across_slices=sum(hlo.sent_by_kind(across).values()),
    flops=operations,
    bounds=_bounds(operations / size, by_kind, sum(sent.values()), chip),
    seconds=compiled.seconds,
    cpu_seconds=compiled.cpu_seconds,
  )


def slice_of(device: jax.Device) -> int:
  """Returns the number of a device's slice, 0 where there are none."""
  return getattr(device, "slice_index", None) or 0


def flops_of_step(config: ml_collections.ConfigDict) -> float:
  """Counts the model's own operations of an update, recomputation left out."""
  sizes = configuration.model_config(config, config.data.vocabulary_size)
  lengths = config.data.source_length, config.data.target_length
  example = flops.of_example(sizes, config.objective.name, *lengths)
  return float(config.data.batch_size * example.training)


def bytes_of(shape: jax.ShapeDtypeStruct) -> int:
  """Returns the bytes that each device holds of an array with a sharding."""
  return math.prod(shape.sharding.shard_shape(shape.shape)) * shape.dtype.itemsize


def _bytes(state: TrainState, batch: dict, found) -> dict[str, int]:
  """Splits what the compiler says by kind.

  The step gives back the state in the place of the old one. What tiles add to the
  arrays that go in and out is in none of their sizes, so it has a line of its own.
  """
  kinds = {"parameters": state.params, "optimizer": state.opt_state, "batch": batch}
  by_kind = {
    kind: sum(bytes_of(leaf) for leaf in jax.tree.leaves(tree))
    for kind, tree in kinds.items()
  }
  inside = found.argument_size_in_bytes + found.output_size_in_bytes
  inside -= found.alias_size_in_bytes
  return by_kind | {
    "temporaries": found.temp_size_in_bytes,
    "tiles": max(0, inside - sum(by_kind.values())),
    "program": found.generated_code_size_in_bytes,
  }


def _bounds(
  operations: float, by_kind: dict[str, int], sent: float, chip: Chip
) -> dict[str, float]:
  """Returns the seconds that each limit of a chip takes alone.

  The state is read and written once at least, and so is each byte of a temporary.
  """
  state = by_kind["parameters"] + by_kind["optimizer"]
  return {
    "arithmetic": operations / chip.peak_flops,
    "memory": 2 * (state + by_kind["temporaries"]) / chip.memory_bandwidth,
    "links": sent / chip.link_bandwidth,
  }
