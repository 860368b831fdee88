# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""LPLM equals the published code and follows the paper."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_cases import CASES, arrays, config, gradients, params

from elmer_jax.model import elmer
from elmer_jax.objectives import lplm, objective

TOLERANCE = 5e-5  # the references' own float32 error is up to 1e-5


@functools.partial(jax.jit, static_argnums=0)
def forward(case: str, weights: dict, exit_layers):
  inputs = arrays(case, "inputs")
  model = elmer.bind(config(case), weights)
  encoded, mask = model.encode(jnp.asarray(inputs["input_ids"], jnp.int32))
  states = lplm.decode_with_copies(
    model,
    encoded,
    mask,
    model.blank_target(*inputs["labels"].shape),
    jnp.asarray(exit_layers, jnp.int32),
  )
  labels = jnp.asarray(inputs["labels"], jnp.int32)
  return states, objective.read_off_ramp(model, states, labels), labels


@pytest.mark.parametrize("variant", ["random", "early", "last", "first"])
@pytest.mark.parametrize("case", CASES)
def test_exit_states_and_losses_equal_the_published_ones(case, variant):
  golden = arrays(case, "pretrain")
  exit_layers = arrays(case, "inputs")[f"exit_layers_{variant}"]
  states, output, labels = forward(case, params(case), exit_layers)
  np.testing.assert_allclose(
    states, golden[f"{variant}/exit_hidden_states"], atol=TOLERANCE, rtol=0
  )
  real = np.asarray(labels) != 1
  nll = np.asarray(output.nll)
  np.testing.assert_allclose(
    nll[real], golden[f"{variant}/token_nll"][real], atol=TOLERANCE, rtol=0
  )
  assert abs(nll[real].mean() - golden[f"{variant}/loss"]) < TOLERANCE
  prediction = golden[f"{variant}/logits"].argmax(-1)
  np.testing.assert_array_equal(output.prediction, prediction)


@pytest.mark.parametrize("variant", ["random", "early"])
@pytest.mark.parametrize("case", CASES)
def test_gradients_equal_the_published_ones(case, variant):
  exit_layers = arrays(case, "inputs")[f"exit_layers_{variant}"]

  @jax.jit
  def loss(weights):
    _, output, labels = forward(case, weights, exit_layers)
    sums = objective.token_sums(output, labels)
    return sums.loss / sums.tokens

  ours = jax.grad(loss)(params(case))
  theirs = gradients(case, "pretrain_grads", variant)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=TOLERANCE, rtol=0), ours, theirs
  )


def test_exit_layers_are_uniform_and_drawn_per_row():
  keys = jax.vmap(jax.random.key)(jnp.arange(64))
  layers = np.asarray(lplm.draw_exit_layers(keys, 500, 6))
  assert layers.min() == 0 and layers.max() == 5
  share = np.bincount(layers.ravel(), minlength=6) / layers.size
  np.testing.assert_allclose(share, 1 / 6, atol=0.01)
  other_half = np.asarray(lplm.draw_exit_layers(keys[32:], 500, 6))
  np.testing.assert_array_equal(other_half, layers[32:])


def test_loss_includes_eos_and_excludes_padding():
  case = CASES[0]
  inputs = arrays(case, "inputs")
  model = elmer.bind(config(case), params(case))
  batch = {
    "source_ids": jnp.asarray(inputs["input_ids"], jnp.int32),
    "target_ids": jnp.asarray(inputs["labels"], jnp.int32),
  }
  keys = jax.vmap(jax.random.key)(jnp.arange(3))
  sums = jax.jit(lambda: lplm.loss(model, batch, keys, 0, train=False))()
  assert sums.tokens == (inputs["labels"] != 1).sum()
  evaluated = jax.jit(lambda: lplm.make().evaluate(model, batch, keys))()
  np.testing.assert_allclose(evaluated.loss, sums.loss, rtol=1e-6)
  layers = config(case).decoder_layers
  assert {f"loss_layer_{n + 1}" for n in range(layers)} <= set(evaluated.metrics)
