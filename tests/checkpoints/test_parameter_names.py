# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of format 1, in which some parameters have other names, can be read."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
import tiny_text
from etils import epath

from elmer_jax.checkpoints import averaging, initial_params, orbax_checkpoint, steps
from elmer_jax.checkpoints.train_state import TrainState
from elmer_jax.core.errors import UserError
from elmer_jax.model import elmer
from elmer_jax.parallel import sharding

OLD_NAMES = {
  "attention_residual": "attention_join",
  "cross_attention_residual": "cross_attention_join",
  "feed_forward_residual": "feed_forward_join",
  "up_proj": "widen",
  "down_proj": "narrow",
}
CONFIG = tiny.model_config(tiny_text.vocabulary().size)
OPTIMIZER = optax.adam(1e-3)


def with_old_names(tree):
  if not isinstance(tree, dict):
    return tree
  return {OLD_NAMES.get(name, name): with_old_names(tree[name]) for name in tree}


def state(seed: int, rename=lambda params: params) -> TrainState:
  """Returns a state in which all arrays of the optimizer differ."""
  params = rename(elmer.initialise(CONFIG, seed))
  gradients = rename(elmer.initialise(CONFIG, seed + 10))
  _, opt_state = OPTIMIZER.update(gradients, OPTIMIZER.init(params))
  return TrainState(jnp.int32(seed), params, opt_state)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
  """A run with two checkpoints of format 1."""
  workdir = tmp_path_factory.mktemp("format-1")
  folder = orbax_checkpoint.checkpoints_folder(str(workdir))
  metadata = {
    "format": 1,
    "model": dataclasses.asdict(CONFIG),
    "objective": {"name": "last_layer"},
  }
  with steps.open_manager(folder, tiny.configure().checkpoint) as manager:
    for step in (1, 2):
      orbax_checkpoint.save(manager, state(step, with_old_names), metadata)
    manager.wait_until_finished()
  tiny_text.vocabulary().save(folder / "vocabulary")
  return workdir


def assert_equal(found, expected) -> None:
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_weights_are_loaded(run):
  assert_equal(orbax_checkpoint.load(str(run)).params, state(2).params)


def test_a_run_starts_from_them(run):
  mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",))
  fresh = jax.device_put(elmer.initialise(CONFIG, 5), sharding.replicated(mesh))
  found = initial_params.load_initial_params(str(run), CONFIG, fresh)
  assert_equal(found, state(2).params)


def test_a_run_resumes_with_its_optimizer_state(run):
  expected = state(2)
  device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  shardings = jax.tree.map(lambda _: device, expected)
  folder = orbax_checkpoint.checkpoints_folder(str(run))
  found, _ = orbax_checkpoint.restore(
    folder / "2", jax.eval_shape(lambda: expected), shardings
  )
  assert_equal(found, expected)


def test_checkpoints_are_averaged(run):
  found = averaging.mean_of_last(str(run), 2).params
  expected = jax.tree.map(
    lambda *leaves: np.mean(np.float64(leaves), 0), state(1).params, state(2).params
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), found, expected
  )


def test_the_order_of_parameters_stays():
  """So do sums over all parameters, such as the norm of a gradient."""
  params = elmer.initialise(CONFIG, 0)
  old = jax.tree.leaves(with_old_names(params))
  for ours, theirs in zip(jax.tree.leaves(params), old, strict=True):
    assert ours is theirs


def test_a_later_format_is_refused(tmp_path, monkeypatch):
  folder = epath.Path(tmp_path) / "checkpoints"
  monkeypatch.setattr(orbax_checkpoint, "FORMAT", 3)
  orbax_checkpoint.save_params(
    str(folder), CONFIG, elmer.initialise(CONFIG, 0), {"objective": {}}
  )
  monkeypatch.undo()
  with pytest.raises(UserError, match=r"0 has checkpoint format 3; .* formats 1 to 2"):
    orbax_checkpoint.load(str(tmp_path))
