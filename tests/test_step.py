# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""One step means the same on every mesh and however the batch is split."""

import jax
import numpy as np
import pytest
import tiny

from elmer_jax import objectives
from elmer_jax.errors import UserError
from elmer_jax.parallel import sharding
from elmer_jax.parallel.mesh import make_mesh
from elmer_jax.training.optimizer import make_optimizer
from elmer_jax.training.step import make_program

STEPS = 3


def build(devices: int = 8, **changes):
  config = tiny.configure(**changes)
  mesh = make_mesh(config, jax.devices()[:devices])
  sizes = tiny.model_config(**changes)
  program = make_program(
    sizes, objectives.get(config), *make_optimizer(config), mesh, config
  )
  return program, mesh


def losses(devices: int, **changes):
  """Returns losses and gradient norms [steps, 2] of a few steps, dropout included."""
  program, mesh = build(devices, **changes)
  found = []
  with jax.set_mesh(mesh):
    state = program.init(0)
    for number in range(STEPS):
      rows = sharding.global_batch(mesh, tiny.batch(seed=number))
      state, metrics = program.train(state, rows, 0)
      found.append((float(metrics["loss"]), float(metrics["gradient_norm"])))
  return np.array(found)


@pytest.fixture(scope="module")
def reference():
  return losses(devices=1)


@pytest.mark.parametrize(
  "sizes",
  [
    (2, 2, 2),
    pytest.param((8, 1, 1), marks=pytest.mark.slow),
    pytest.param((1, 8, 1), marks=pytest.mark.slow),
    pytest.param((4, 1, 2), marks=pytest.mark.slow),
    pytest.param((1, 4, 2), marks=pytest.mark.slow),
  ],
)
def test_every_mesh_gives_the_same_losses(reference, sizes):
  data, fsdp, tensor = sizes
  ours = losses(devices=8, mesh__data=data, mesh__fsdp=fsdp, mesh__tensor=tensor)
  np.testing.assert_allclose(ours, reference, rtol=1e-5)


def test_accumulation_and_remat_change_nothing(reference):
  """Dropout and exit draws go with the row, so they are in this comparison."""
  ours = losses(devices=2, train__accumulation=4, model__remat="layer")
  np.testing.assert_allclose(ours, reference, rtol=1e-5)


@pytest.mark.parametrize("objective", ["lplm", "soft_exit", "last_layer"])
def test_every_objective_learns_a_batch(objective):
  program, mesh = build(
    devices=1,
    objective__name=objective,
    optimizer__learning_rate=3e-3,
    optimizer__schedule="constant",
    model__dropout=0.0,
    model__norm="pre",
  )
  with jax.set_mesh(mesh):
    state = program.init(0)
    rows = sharding.global_batch(mesh, tiny.batch())
    first = program.evaluate(state.params, rows, 0, 0)
    for _ in range(60):
      state, _ = program.train(state, rows, 0)
    last = program.evaluate(state.params, rows, 0, 0)
  assert last.loss < 0.6 * first.loss
  assert {"accuracy_layer_1", "accuracy_layer_3"} <= set(last.metrics)


def test_parameters_and_optimizer_are_sharded():
  program, _ = build(mesh__data=1, mesh__fsdp=4, mesh__tensor=2)
  state = program.init(0)

  def whole_share(tree) -> float:
    """Bytes that every device holds whole, as a share of all bytes."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if leaf.ndim > 1]
    total = sum(leaf.nbytes for leaf in leaves)
    return (
      sum(leaf.nbytes for leaf in leaves if leaf.sharding.is_fully_replicated) / total
    )

  assert whole_share(state.params) < 0.05
  assert whole_share(state.opt_state) < 0.05


@pytest.mark.parametrize(
  "sizes", [{"mesh__data": 3}, {"mesh__data": -1, "mesh__fsdp": -1}, {"mesh__data": 4}]
)
def test_mesh_sizes_must_fit_the_devices(sizes):
  with pytest.raises(UserError, match="mesh.data="):
    make_mesh(tiny.configure(**sizes))


def test_a_tensor_axis_must_divide():
  with pytest.raises(UserError, match="must divide the 'mlp' side"):
    build(mesh__data=1, mesh__tensor=8, model__decoder_feed_forward=36)
