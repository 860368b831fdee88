# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Glancing tells as much as the error calls for, and scores none of it."""

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
from elmer_jax.objectives.glancing import Glancing
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


def batch(update: int) -> dict:
  return tiny.batch() | {"update": jnp.full(8, update, jnp.int32)}


def told(update: int, right=None, ramp: int = 10) -> glancing.Told:
  """Glances with a first pass that is right where `right` says."""
  return _told(params(), update, right, Glancing(RATIO, ramp))


@functools.partial(jax.jit, static_argnums=3)
def _told(weights, update, right, options: Glancing) -> glancing.Told:
  model = elmer.bind(sizes(), weights)
  first = None if right is None else lambda *_: right
  encoded = objective.encode(model, tiny.batch(), KEYS, False)
  return glancing.glance(model, batch(update), encoded, KEYS, options, first)


@pytest.mark.parametrize(("update", "progress"), [(0, 0.0), (5, 0.5), (10, 1), (99, 1)])
def test_what_is_told_follows_the_error_and_ramps_up(update, progress):
  targets = tiny.batch()["target_ids"]
  real = targets != PAD_ID
  right = np.random.default_rng(0).random(targets.shape) < 0.4
  found = told(update, right)
  revealed = real & (np.asarray(found.targets_BxT) == PAD_ID)
  wrong = (real & ~right).sum(1)
  expected = np.floor(RATIO * progress * wrong + 1e-4)
  np.testing.assert_array_equal(revealed.sum(1), expected)
  assert found.metrics["revealed"] == expected.sum()


def test_who_errs_nowhere_is_told_nothing_and_without_a_ramp_all_starts_at_once():
  targets = tiny.batch()["target_ids"]
  assert told(99, np.ones(targets.shape, bool)).metrics["revealed"] == 0
  wrong = np.zeros(targets.shape, bool)
  assert told(0, wrong, ramp=0).metrics["revealed"] > 0


def test_told_positions_have_their_token_as_input_and_are_not_scored():
  targets = tiny.batch()["target_ids"]
  found = told(10)
  revealed = (targets != PAD_ID) & (np.asarray(found.targets_BxT) == PAD_ID)
  blank = np.asarray(elmer.bind(sizes(), params()).blank_target(*targets.shape))
  assert revealed.any()
  expected = np.where(revealed, targets, blank)
  np.testing.assert_array_equal(found.decoder_ids_BxT, expected)
  kept = np.asarray(found.targets_BxT)[~revealed]
  np.testing.assert_array_equal(kept, targets[~revealed])


def test_a_row_is_told_the_same_in_any_batch():
  real = tiny.batch()["target_ids"] != PAD_ID
  every = glancing.draw(KEYS, real, jnp.full(8, 3.0))
  some = glancing.draw(KEYS[5:], real[5:], jnp.full(3, 3.0))
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
def test_nothing_learns_through_the_first_pass(name):
  """Gradients are those of the second pass alone, given what was told."""
  config = tiny.configure(
    objective__name=name, objective__glancing=RATIO, objective__glancing_ramp=0
  )
  form = objectives.get(config).loss
  true_glance = glancing.glance

  def loss(weights):
    return form(elmer.bind(sizes(name), weights), batch(0), KEYS, True).loss

  whole = jax.jit(jax.grad(loss))(params(name))
  kept = []

  def remember(*arguments):
    kept.append(true_glance(*arguments))
    return kept[-1]

  def tell(weights):
    loss(weights)
    return kept[-1]

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(glancing, "glance", remember)
    fixed = jax.jit(tell)(params(name))
    patch.setattr(glancing, "glance", lambda *_: fixed)
    second = jax.jit(jax.grad(lambda weights: loss(weights)))(params(name))
  assert fixed.metrics["revealed"] > 0
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4), whole, second
  )


def test_validation_is_neither_told_nor_smoothed():
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
    ("lplm", "label_smoothing", 0.1, "label_smoothing is for fine-tuning"),
    ("last_layer", "glancing", 1.5, "glancing is a share, 0 to 1; it is 1.5"),
    ("last_layer", "glancing_ramp", -1, "0 updates or more"),
    ("soft_exit", "label_smoothing", 1.0, "at least 0 and below 1; it is 1.0"),
  ],
)
def test_options_that_can_not_be_are_one_line(name, key, value, line):
  config = tiny.configure(objective__name=name, **{f"objective__{key}": value})
  with pytest.raises(UserError, match=line):
    objectives.get(config)
