# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Glancing reveals tokens in proportion to the errors, and does not score them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from elmer_jax import objectives
from elmer_jax.core.errors import UserError
from elmer_jax.model import elmer
from elmer_jax.objectives import glancing, objective
from elmer_jax.objectives.glancing import GlancingOptions
from elmer_jax.tokenizer.special_ids import PAD_ID

RATIO = 0.5
NAMES = ("last_layer", "soft_exit", "hard_exit")
KEYS = jax.vmap(jax.random.key)(jnp.arange(8))


@functools.cache
def sizes(name: str = "last_layer"):
  return tiny.model_config(objective__name=name, model__dropout=0.0)


@functools.cache
def params(name: str = "last_layer") -> dict:
  return elmer.initialise(sizes(name), 0)


def glance(step: int, is_correct=None, ramp: int = 10) -> glancing.Revealed:
  """Glances with a first pass that is right where `is_correct` is true."""
  return _glance(params(), step, is_correct, GlancingOptions(RATIO, ramp))


@functools.partial(jax.jit, static_argnums=3)
def _glance(weights, step, is_correct, options: GlancingOptions) -> glancing.Revealed:
  model, batch = elmer.bind(sizes(), weights), tiny.batch()
  first_pass = None if is_correct is None else lambda *_: is_correct
  encoded = objective.encode(model, batch, KEYS, train=False)
  return glancing.glance(
    model, batch["target_ids"], encoded, KEYS, step, options, first_pass
  )


@pytest.mark.parametrize(("step", "progress"), [(0, 0.0), (5, 0.5), (10, 1), (99, 1)])
def test_revealed_count_follows_the_errors_and_the_ramp(step, progress):
  targets = tiny.batch()["target_ids"]
  real = targets != PAD_ID
  is_correct = np.random.default_rng(0).random(targets.shape) < 0.4
  found = glance(step, is_correct)
  revealed = real & (np.asarray(found.targets_BxT) == PAD_ID)
  wrong = (real & ~is_correct).sum(1)
  expected = np.floor(RATIO * progress * wrong + 1e-4)
  np.testing.assert_array_equal(revealed.sum(1), expected)
  assert found.metrics["revealed"] == expected.sum()


def test_nothing_is_revealed_without_errors():
  every = np.ones(tiny.batch()["target_ids"].shape, bool)
  assert glance(99, every).metrics["revealed"] == 0


def test_without_a_ramp_the_first_step_reveals():
  none = np.zeros(tiny.batch()["target_ids"].shape, bool)
  assert glance(0, none, ramp=0).metrics["revealed"] > 0


def test_revealed_positions_are_decoder_input_and_not_scored():
  targets = tiny.batch()["target_ids"]
  found = glance(10)
  revealed = (targets != PAD_ID) & (np.asarray(found.targets_BxT) == PAD_ID)
  blank = np.asarray(elmer.bind(sizes(), params()).blank_target(*targets.shape))
  assert revealed.any()
  expected = np.where(revealed, targets, blank)
  np.testing.assert_array_equal(found.decoder_ids_BxT, expected)
  kept = np.asarray(found.targets_BxT)[~revealed]
  np.testing.assert_array_equal(kept, targets[~revealed])


def test_draws_of_a_row_do_not_depend_on_its_batch():
  real = tiny.batch()["target_ids"] != PAD_ID
  every = glancing.draw_revealed(KEYS, real, jnp.full(8, 3.0))
  some = glancing.draw_revealed(KEYS[5:], real[5:], jnp.full(3, 3.0))
  np.testing.assert_array_equal(every[5:], some)
  assert (np.asarray(every).sum(1) == 3).all()
  assert len({row.tobytes() for row in np.asarray(every)}) > 1


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=[] if name == "soft_exit" else pytest.mark.slow)
    for name in NAMES
  ],
)
def test_the_first_pass_has_no_gradient(name):
  """Gradients are those of the second pass for the same revealed positions."""
  config = tiny.configure(
    objective__name=name, objective__glancing=RATIO, objective__glancing_ramp=0
  )
  objective_loss = objectives.get(config).loss
  glance = glancing.glance

  def loss(weights):
    model = elmer.bind(sizes(name), weights)
    return objective_loss(model, tiny.batch(), KEYS, 0, train=True).loss

  both_passes = jax.jit(jax.grad(loss))(params(name))
  recorded = []

  def record(*arguments):
    recorded.append(glance(*arguments))
    return recorded[-1]

  def revealed(weights):
    loss(weights)
    return recorded[-1]

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(glancing, "glance", record)
    fixed = jax.jit(revealed)(params(name))
    patch.setattr(glancing, "glance", lambda *_: fixed)
    second_pass = jax.jit(jax.grad(lambda weights: loss(weights)))(params(name))
  assert fixed.metrics["revealed"] > 0
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4),
    both_passes,
    second_pass,
  )


def test_evaluation_has_neither_glancing_nor_label_smoothing():
  plain = objectives.get(tiny.configure(objective__name="last_layer"))
  config = tiny.configure(
    objective__name="last_layer",
    objective__glancing=RATIO,
    objective__label_smoothing=0.3,
  )
  model = elmer.bind(sizes(), params())
  a, b = (
    jax.jit(lambda o=o: o.evaluate(model, tiny.batch(), KEYS))()
    for o in (plain, objectives.get(config))
  )
  jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize(
  ("name", "key", "value", "line"),
  [
    ("lplm", "glancing", 0.3, "glancing is for soft_exit, hard_exit and last_layer"),
    ("autoregressive", "glancing", 0.3, "objective.name is autoregressive"),
    ("lplm", "label_smoothing", 0.1, "label_smoothing is for objectives"),
    ("last_layer", "glancing", 1.5, "glancing must be from 0 to 1; it is 1.5"),
    ("last_layer", "glancing_ramp", -1, "0 steps or more"),
    ("soft_exit", "label_smoothing", 1.0, "at least 0 and below 1; it is 1.0"),
  ],
)
def test_invalid_options_are_refused(name, key, value, line):
  config = tiny.configure(objective__name=name, **{f"objective__{key}": value})
  with pytest.raises(UserError, match=line):
    objectives.get(config)
