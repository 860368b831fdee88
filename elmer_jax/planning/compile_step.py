# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Compiles the training step of a run for devices that this machine may not have.

Nothing is computed: state and batch are shapes with shardings, and the program is the
one that `train` compiles on those devices.
"""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections

from elmer_jax import configuration, objectives
from elmer_jax.checkpoints.train_state import TrainState
from elmer_jax.core.errors import UserError
from elmer_jax.parallel import sharding
from elmer_jax.training import out_of_memory
from elmer_jax.training.optimizer import make_optimizer
from elmer_jax.training.step import Program, make_program


class DoesNotFit(UserError):
  """The step needs more memory than a device has."""


class Compiled(NamedTuple):
  """A compiled step and the time of its compilation."""

  step: jax.stages.Compiled
  seconds: float
  cpu_seconds: float


def build(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> Program:
  """Returns the program of a run whose vocabulary has `data.vocabulary_size` ids.

  Raises:
    UserError: the mesh doesn't divide the batch or a parameter.
  """
  sharding.check_batch(
    mesh, config.data.batch_size, config.train.grad_accumulation_steps
  )
  sizes = configuration.model_config(config, config.data.vocabulary_size)
  optimizer, schedule = make_optimizer(config)
  return make_program(sizes, objectives.get(config), optimizer, schedule, mesh, config)


def abstract_state(program: Program) -> TrainState:
  """Returns the training state as shapes with shardings."""
  return jax.tree.map(
    lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
    program.shapes,
    program.shardings,
  )


def abstract_batch(
  config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh
) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns `source_ids` [B, S] and `target_ids` [B, T] as shapes with shardings."""
  rows = sharding.batch_sharding(mesh)
  lengths = {
    "source_ids": configuration.encoder_positions(config),
    "target_ids": config.data.target_length,
  }
  return {
    name: jax.ShapeDtypeStruct(
      (config.data.batch_size, length), jnp.int32, sharding=rows
    )
    for name, length in lengths.items()
  }


def compile_step(
  program: Program,
  config: ml_collections.ConfigDict,
  mesh: jax.sharding.Mesh,
  options: dict | None = None,
) -> Compiled:
  """Compiles the training step for the platform of the mesh's devices.

  Args:
    program: of `build`.
    config: of the run.
    mesh: given to `build`.
    options: of the compiler.

  Raises:
    DoesNotFit: its message says by how much, and what would help.
  """
  platform = mesh.devices.flat[0].platform
  clock, cpu_clock = time.monotonic(), time.process_time()
  with jax.set_mesh(mesh):
    traced = program.train_step.trace(
      abstract_state(program), abstract_batch(config, mesh), config.seed
    )
    lowered = traced.lower(lowering_platforms=(platform,))
    try:
      step = lowered.compile(options)
    except jax.errors.JaxRuntimeError as error:
      if out_of_memory.is_out_of_memory(error):
        raise DoesNotFit(
          str(out_of_memory.to_user_error(error, config, mesh))
        ) from None
      raise
  return Compiled(step, time.monotonic() - clock, time.process_time() - cpu_clock)
