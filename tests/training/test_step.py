# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A step is the same function on every mesh and for every split of the batch."""

import jax
import numpy as np
import pytest
import tiny

from elmer_jax import objectives
from elmer_jax.parallel import sharding
from elmer_jax.parallel.mesh import make_mesh
from elmer_jax.training.optimizer import make_optimizer
from elmer_jax.training.step import make_program

STEPS = 5


def build(devices: int = 8, **changes):
  config = tiny.configure(**changes)
  mesh = make_mesh(config, jax.devices()[:devices])
  sizes = tiny.model_config(**changes)
  program = make_program(
    sizes, objectives.get(config), *make_optimizer(config), mesh, config
  )
  return program, mesh


def compile_fast(function, *arguments):
  """Compiles with little optimisation: compiling is nearly all that these tests do."""
  return function.lower(*arguments).compile({"xla_backend_optimization_level": 0})


def losses(devices: int, **changes):
  """Returns losses and gradient norms [STEPS, 2], dropout included."""
  program, mesh = build(devices, **changes)
  batches = [
    tiny.batch(changes.get("data__batch_size", 8), seed=step) for step in range(STEPS)
  ]
  found = []
  with jax.set_mesh(mesh):
    state = compile_fast(program.init, 0)(0)
    batches = [sharding.global_batch(mesh, rows) for rows in batches]
    train_step = compile_fast(program.train_step, state, batches[0], 0)
    for batch in batches:
      state, metrics = train_step(state, batch, 0)
      found.append((float(metrics["loss"]), float(metrics["gradient_norm"])))
  return np.array(found)


@pytest.fixture(scope="module")
def reference():
  return losses(devices=1)


@pytest.mark.parametrize(
  "sizes",
  [
    (1, 8, 1),
    (4, 1, 2),
    (2, 2, 2),
    pytest.param((8, 1, 1), marks=pytest.mark.slow),
    pytest.param((1, 4, 2), marks=pytest.mark.slow),
  ],
)
def test_every_mesh_gives_the_same_losses(reference, sizes):
  data, fsdp, tensor = sizes
  ours = losses(devices=8, mesh__data=data, mesh__fsdp=fsdp, mesh__tensor=tensor)
  np.testing.assert_allclose(ours, reference, rtol=1e-5)


@pytest.mark.slow
def test_glancing_and_smoothing_do_not_depend_on_the_split():
  """Only soft exit's mixing does: its means are per layer and micro-batch."""
  changes = {
    "objective__name": "last_layer",
    "objective__glancing": 0.5,
    "objective__glancing_ramp": 2,
    "objective__label_smoothing": 0.1,
  }
  alone = losses(devices=1, **changes)
  sizes = {"mesh__data": 2, "mesh__fsdp": 2, "mesh__tensor": 2}
  ours = losses(devices=8, train__grad_accumulation_steps=2, **sizes, **changes)
  np.testing.assert_allclose(ours, alone, rtol=1e-5)


def test_accumulation_and_remat_change_nothing(reference):
  """Dropout and exit layers are drawn per row, so they are part of the comparison."""
  ours = losses(devices=2, train__grad_accumulation_steps=4, model__remat="layer")
  np.testing.assert_allclose(ours, reference, rtol=1e-5)


CUBE = {"mesh__data": 2, "mesh__fsdp": 2, "mesh__tensor": 2}


@pytest.mark.slow
def test_accumulation_changes_nothing_on_a_mesh():
  alone = losses(devices=1, data__batch_size=16)
  ours = losses(
    devices=8, data__batch_size=16, train__grad_accumulation_steps=4, **CUBE
  )
  np.testing.assert_allclose(ours, alone, rtol=1e-5)


@pytest.mark.slow
def test_slices_change_nothing(reference):
  ours = losses(devices=8, mesh__slices=2, **CUBE)
  np.testing.assert_allclose(ours, reference, rtol=1e-5)


@pytest.mark.slow
def test_other_rules_change_nothing(reference):
  rules = tiny.configure().mesh.rules
  rules.update({"vocab": "fsdp", "embed": "", "norm": "tensor"})
  ours = losses(devices=8, mesh__rules=rules, **CUBE)
  np.testing.assert_allclose(ours, reference, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["muon", "adafactor"])
def test_every_optimizer_is_the_same_on_a_mesh(name):
  """Orthogonalised updates and factored moments need whole matrices."""
  # Adafactor factors matrices whose sides are both 128 or more.
  changes = {"optimizer__name": name, "model__d_model": 128}
  changes |= {"model__encoder_feed_forward": 128, "model__decoder_feed_forward": 256}
  alone = losses(devices=1, **changes)
  sharded = losses(devices=8, **changes, **CUBE)
  np.testing.assert_allclose(sharded, alone, rtol=1e-5)


@pytest.mark.parametrize("objective", objectives.NAMES)
def test_every_objective_can_overfit_one_batch(objective):
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
    first = program.eval_step(state.params, rows, 0, 0)
    for _ in range(60):
      state, _ = program.train_step(state, rows, 0)
    last = program.eval_step(state.params, rows, 0, 0)
  assert last.loss < 0.6 * first.loss
  if objective != "autoregressive":
    assert {"accuracy_layer_1", "accuracy_layer_3"} <= set(last.metrics)
