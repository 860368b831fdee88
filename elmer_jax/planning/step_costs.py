# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What a compiled step needs of each chip, and a lower bound of its time."""

import math
from typing import NamedTuple

import jax
import ml_collections
import numpy as np

from elmer_jax import configuration
from elmer_jax.checkpoints.train_state import TrainState
from elmer_jax.model import flops
from elmer_jax.parallel import sharding
from elmer_jax.parallel.chips import Chip
from elmer_jax.parallel.mesh import slice_of
from elmer_jax.planning import compile_step, hlo


class StepCosts(NamedTuple):
  """Costs of one training step on one mesh; bytes are per chip."""

  bytes: dict[str, int]  # by kind
  memory: int  # bytes that a chip has
  sent: dict[str, float]  # bytes sent in a step, by kind of collective
  sent_across_slices: float  # the part sent by collectives that join slices
  flops: float  # of the model, over all chips
  bounds: dict[str, float]  # seconds that a step takes at least, by resource
  seconds: float  # of compilation
  cpu_seconds: float

  @property
  def total_bytes(self) -> int:
    return sum(self.bytes.values())

  @property
  def fits(self) -> bool:
    return self.total_bytes <= self.memory

  @property
  def bound(self) -> float:
    """Seconds; all resources may be used at the same time, so the largest counts."""
    return max(self.bounds.values())


def measure(
  config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh, chip: Chip
) -> StepCosts:
  """Compiles a run's step for a mesh of such chips and reads what it needs.

  Raises:
    UserError: the mesh doesn't divide the batch or a parameter, or the step doesn't
      fit.
  """
  program = compile_step.build(config, mesh)
  compiled = compile_step.compile_step(program, config, mesh)
  size = mesh.devices.size
  by_kind = _bytes(
    compile_step.abstract_state(program),
    compile_step.abstract_batch(config, mesh),
    compiled.step.memory_analysis(),
  )
  collectives = hlo.collectives(compiled.step.as_text(), size)
  sent = hlo.sent_by_kind(collectives)
  slices = np.array([slice_of(device) for device in mesh.devices.flat])
  across = [operation for operation in collectives if hlo.joins(operation, slices)]
  operations = flops_of_step(config)
  return StepCosts(
    bytes=by_kind,
    memory=chip.memory,
    sent=sent,
    sent_across_slices=sum(hlo.sent_by_kind(across).values()),
    flops=operations,
    bounds=_bounds(operations / size, by_kind, sum(sent.values()), chip),
    seconds=compiled.seconds,
    cpu_seconds=compiled.cpu_seconds,
  )


def rows_per_process(
  config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh
) -> dict[int, int]:
  """Returns how many rows of a batch each process reads, by its index."""
  processes = sorted({device.process_index for device in mesh.devices.flat})
  return {
    index: len(sharding.rows_of_process(mesh, config.data.batch_size, index))
    for index in processes
  }


def flops_of_step(config: ml_collections.ConfigDict) -> float:
  """Returns the FLOPs of the model in a step, without recomputation."""
  sizes = configuration.model_config(config, config.data.vocabulary_size)
  example = flops.of_example(
    sizes,
    config.objective.name,
    configuration.encoder_positions(config),
    config.data.target_length,
    configuration.decoder_positions(config),
  )
  return float(config.data.batch_size * example.training)


def bytes_per_device(shape: jax.ShapeDtypeStruct) -> int:
  """Returns the bytes that each device holds of a sharded array."""
  return math.prod(shape.sharding.shard_shape(shape.shape)) * shape.dtype.itemsize


def _bytes(state: TrainState, batch: dict, memory) -> dict[str, int]:
  """Splits the compiler's memory analysis by kind.

  The new state takes the memory of the old one, which is donated. The padding of
  inputs and outputs to tiles is in none of their sizes, so it is a kind of its own.
  """
  kinds = {"parameters": state.params, "optimizer": state.opt_state, "batch": batch}
  by_kind = {
    kind: sum(bytes_per_device(leaf) for leaf in jax.tree.leaves(tree))
    for kind, tree in kinds.items()
  }
  in_and_out = memory.argument_size_in_bytes + memory.output_size_in_bytes
  in_and_out -= memory.alias_size_in_bytes
  return by_kind | {
    "temporaries": memory.temp_size_in_bytes,
    "tiles": max(0, in_and_out - sum(by_kind.values())),
    "program": memory.generated_code_size_in_bytes,
  }


def _bounds(
  operations: float, by_kind: dict[str, int], sent: float, chip: Chip
) -> dict[str, float]:
  """Returns the seconds that each resource of a chip is used at least.

  Memory: the state and each temporary are read and written once.
  """
  state = by_kind["parameters"] + by_kind["optimizer"]
  return {
    "arithmetic": operations / chip.peak_flops,
    "memory": 2 * (state + by_kind["temporaries"]) / chip.memory_bandwidth,
    "links": sent / chip.link_bandwidth,
  }
