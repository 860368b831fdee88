# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""One step means the same on every mesh and however the batch is split."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from elmer_jax import objectives
from elmer_jax.errors import UserError
from elmer_jax.model import elmer
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


def test_glancing_and_smoothing_are_the_same_however_a_batch_is_split():
  """Soft exit's mixing alone would not be: see `soft_exit`."""
  changes = {
    "objective__name": "last_layer",
    "objective__glancing": 0.5,
    "objective__glancing_ramp": 2,
    "objective__label_smoothing": 0.1,
  }
  alone = losses(devices=1, **changes)
  sizes = {"mesh__data": 2, "mesh__fsdp": 2, "mesh__tensor": 2}
  ours = losses(devices=8, train__accumulation=2, **sizes, **changes)
  np.testing.assert_allclose(ours, alone, rtol=1e-5)


def test_accumulation_and_remat_change_nothing(reference):
  """Dropout and exit draws go with the row, so they are in this comparison."""
  ours = losses(devices=2, train__accumulation=4, model__remat="layer")
  np.testing.assert_allclose(ours, reference, rtol=1e-5)


@pytest.mark.slow
def test_muon_is_the_same_on_a_mesh():
  """Its orthogonalised updates need whole matrices, however they are sharded."""
  sizes = {"mesh__data": 2, "mesh__fsdp": 2, "mesh__tensor": 2}
  alone = losses(devices=1, optimizer__name="muon")
  sharded = losses(devices=8, optimizer__name="muon", **sizes)
  np.testing.assert_allclose(sharded, alone, rtol=1e-5)


def test_muon_orthogonalises_projections_and_nothing_else():
  config = tiny.configure(optimizer__name="muon", optimizer__weight_decay=0.0)
  optimizer, _ = make_optimizer(config)
  params = elmer.initialise(tiny.model_config(), 0)
  rng = np.random.default_rng(0)
  grads = jax.tree.map(lambda leaf: jnp.float32(rng.normal(size=leaf.shape)), params)
  updates, _ = optimizer.update(grads, optimizer.init(params), params)
  update = np.asarray(updates["encoder"]["layers"]["feed_forward"]["widen"]["kernel"])
  values = np.linalg.svd(update, compute_uv=False)  # of each layer's matrix
  assert values.max() / values.min() < 2
  table = np.linalg.svd(np.asarray(updates["tokens"]), compute_uv=False)
  assert table.max() / table.min() > 2


def test_unknown_optimizers_are_told():
  with pytest.raises(UserError, match="optimizer.name is one of adamw, muon; not 'sgd"):
    make_optimizer(tiny.configure(optimizer__name="sgd"))


@pytest.mark.parametrize("objective", objectives.NAMES)
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
  if objective != "autoregressive":
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
