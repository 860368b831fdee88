# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The objective `dag`: emissions without logits, its exits, its options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from elmer_jax import configuration, objectives
from elmer_jax.core.errors import UserError
from elmer_jax.model import elmer
from elmer_jax.objectives import dag
from elmer_jax.objectives.linear_cross_entropy import full_logits
from elmer_jax.tokenizer.special_ids import PAD_ID

WINDOW = 8


def configure(**options):
  changes = {f"objective__{name}": value for name, value in options.items()}
  return tiny.configure(
    objective__name="dag", objective__transition_window=WINDOW, **changes
  )


def make(config):
  """Returns the loss of parameters as a function, and fresh parameters."""
  sizes = configuration.model_config(config, 90)
  keys = jax.vmap(jax.random.key)(jnp.arange(8))
  form = objectives.get(config)

  def loss(params, batch, train=True):
    return form.loss(elmer.bind(sizes, params), batch, keys, 0, train)

  return loss, elmer.initialise(sizes, 0)


def test_emissions_are_log_softmax_of_the_logits():
  sizes = configuration.model_config(configure(), 90)
  model = elmer.bind(sizes, elmer.initialise(sizes, 0))
  states = jax.random.normal(jax.random.key(1), (2, 6, sizes.d_model))
  ids = jnp.array([[5, 2, 7], [9, 9, 2]])
  vertices = dag.read_vertices(model, states)
  found = dag.token_log_probabilities(model, states, vertices.head, ids)
  logits = jax.nn.log_softmax(full_logits(states, model.head()))
  expected = jnp.take_along_axis(logits, jnp.broadcast_to(ids[:, None], (2, 6, 3)), 2)
  np.testing.assert_allclose(found, expected, atol=1e-5)
  total = jnp.exp(vertices.transitions_BxWxP).sum(1)
  np.testing.assert_allclose(total[:, :-1], 1, atol=1e-5)
  np.testing.assert_array_equal(total[:, -1], 0)


@pytest.mark.parametrize("exits", dag.EXITS)
def test_gradients_reach_all_parameters_and_are_finite(exits):
  loss, params = make(configure(exits=exits, layer_loss=0.5 * (exits == "soft")))
  grads = jax.jit(jax.grad(lambda params: loss(params, tiny.batch()).loss))(params)
  for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    assert np.isfinite(leaf).all(), name
    # The key biases of attention cancel in the softmax; the last bias is a constant.
    if "key/bias" not in name and name != "logits_bias":
      assert np.abs(leaf).max() > 0, name


def test_rows_without_a_target_do_not_count():
  loss, params = make(configure())
  batch = tiny.batch()
  empty = {
    "source_ids": batch["source_ids"],
    "target_ids": np.where(np.arange(8)[:, None] < 6, batch["target_ids"], PAD_ID),
  }
  some = {name: ids[:6] for name, ids in batch.items()}
  found = jax.jit(lambda p: loss(p, empty, False))(params)
  sizes = configuration.model_config(configure(), 90)
  form = objectives.get(configure())
  keys = jax.vmap(jax.random.key)(jnp.arange(6))
  expected = form.loss(elmer.bind(sizes, params), some, keys, 0, False)
  np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-5)
  assert found.tokens == expected.tokens and np.isfinite(found.loss)


def test_training_lowers_the_loss_and_evaluation_reports_every_layer():
  config = configure()
  loss, params = make(config)
  batch = tiny.batch()

  @jax.jit
  def step(params):
    grads = jax.grad(lambda params: loss(params, batch).loss)(params)
    return jax.tree.map(lambda p, g: p - 1e-3 * g, params, grads)

  before = loss(params, batch, False).loss
  for _ in range(20):
    params = step(params)
  sizes = configuration.model_config(config, 90)
  keys = jax.vmap(jax.random.key)(jnp.arange(8))
  found = objectives.get(config).evaluate(elmer.bind(sizes, params), batch, keys)
  assert found.loss < before
  np.testing.assert_allclose(found.metrics["loss_layer_3"], found.loss, rtol=1e-5)
  assert 0 <= found.metrics["accuracy"] <= found.tokens
  assert len([name for name in found.metrics if name.startswith("loss_layer")]) == 3


@pytest.mark.parametrize(
  ("changes", "line"),
  [
    ({"exits": "hard"}, "exits must be one of none, soft, copies; not 'hard'"),
    ({"glancing": 0.5}, "glancing is for"),
    ({"label_smoothing": 0.1}, "label_smoothing is for"),
  ],
)
def test_invalid_options_are_refused(changes, line):
  with pytest.raises(UserError, match=line):
    objectives.get(configure(**changes))


def test_more_vertices_than_positions_are_refused():
  with pytest.raises(
    UserError, match="is 48 decoder positions; model.positions has 40"
  ):
    configuration.check(configure(upsampling=4.0))
  with pytest.raises(UserError, match="transition_heads must divide"):
    configuration.check(configure(transition_heads=5))
