# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A step of the objective `dag` is the same on every mesh, and needs little memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_step import losses

from elmer_jax.model.transitions import NEVER
from elmer_jax.objectives import dag_paths

DAG = {
  "objective__name": "dag",
  "objective__transition_window": 8,
  "objective__exits": "soft",
  "objective__layer_loss": 0.5,
}


@pytest.fixture(scope="module")
def reference():
  return losses(devices=1, **DAG)


@pytest.mark.parametrize(
  "sizes", [(2, 2, 2), pytest.param((8, 1, 1), marks=pytest.mark.slow)]
)
def test_every_mesh_gives_the_same_losses(reference, sizes):
  data, fsdp, tensor = sizes
  mesh = {"mesh__data": data, "mesh__fsdp": fsdp, "mesh__tensor": tensor}
  ours = losses(devices=8, **mesh, **DAG)
  np.testing.assert_allclose(ours, reference, rtol=1e-5)


def test_accumulation_and_remat_change_nothing(reference):
  changes = {"train__grad_accumulation_steps": 4, "model__remat": "layer"}
  ours = losses(devices=2, **changes, **DAG)
  np.testing.assert_allclose(ours, reference, rtol=1e-5)


@pytest.mark.parametrize("window", [32, 1023])
def test_the_sum_over_paths_needs_little_memory(window):
  """At 512 target tokens and 1,024 vertices a row; a plain scan would keep 16 GiB."""
  batch, vertices, length = 8, 1024, 512
  transitions = jax.ShapeDtypeStruct((batch, window, vertices), jnp.float32)
  emissions = jax.ShapeDtypeStruct((batch, vertices, length), jnp.float32)
  lengths = jax.ShapeDtypeStruct((batch,), jnp.int32)

  def total(transitions, emissions, lengths):
    transitions = jnp.maximum(transitions, NEVER)
    return dag_paths.log_likelihood(transitions, emissions, lengths).sum()

  program = jax.jit(jax.grad(total, (0, 1))).lower(transitions, emissions, lengths)
  memory = program.compile().memory_analysis()
  assert memory.temp_size_in_bytes < 200 * 2**20
