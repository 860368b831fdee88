# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Soft exit equals the published code, and its mixing does not leak the target."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_cases import CASES, arrays, config, gradients, params

from elmer_jax.model import elmer
from elmer_jax.objectives import soft_exit
from elmer_jax.tokenizer.special_ids import PAD_ID

TOLERANCE = 5e-5


def batch(case: str) -> dict:
  inputs = arrays(case, "inputs")
  return {
    "source_ids": jnp.asarray(inputs["input_ids"], jnp.int32),
    "target_ids": jnp.asarray(inputs["labels"], jnp.int32),
  }


@functools.partial(jax.jit, static_argnums=(0, 2))
def sums(case: str, weights: dict, published_mixing: bool = False, mixing=0.0):
  model = elmer.bind(config(case, soft_exit=True), weights)
  keys = jax.vmap(jax.random.key)(jnp.arange(len(arrays(case, "inputs")["labels"])))
  return soft_exit.loss(
    model, batch(case), keys, 0, True, mixing=mixing, published_mixing=published_mixing
  )


@pytest.mark.parametrize("case", CASES)
def test_loss_of_every_layer_equals_the_published_one(case):
  golden = arrays(case, "finetune")
  found = sums(case, params(case, soft_exit=True))
  layers = config(case).decoder_layers
  ours = [found.metrics[f"loss_layer_{n + 1}"] / found.tokens for n in range(layers)]
  theirs = [*golden["eval/loss_inter"], golden["eval/loss_final"]]
  np.testing.assert_allclose(ours, theirs, atol=TOLERANCE, rtol=0)
  assert abs(found.loss / found.tokens - golden["eval/loss_train"]) < TOLERANCE


def test_gradients_equal_the_published_ones():
  case = CASES[0]

  def loss(weights):
    found = sums(case, weights)
    return found.loss / found.tokens

  ours = jax.grad(loss)(params(case, soft_exit=True))
  theirs = gradients(case, "finetune_grads", "eval", soft_exit=True)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=TOLERANCE, rtol=0), ours, theirs
  )


def test_published_mixing_equals_the_published_loss():
  case = CASES[0]
  found = sums(case, params(case, soft_exit=True), True, 1.0)
  golden = arrays(case, "finetune")["mix1/loss_train"]
  assert abs(found.loss / found.tokens - golden) < TOLERANCE


def test_mixed_positions_are_scored_in_the_first_layer_only():
  case = CASES[0]
  found = sums(case, params(case, soft_exit=True), False, 1.0)
  assert found.metrics["loss_layer_1"] > 0
  assert found.metrics["loss_layer_2"] == 0


def test_nothing_is_mixed_after_the_end():
  """The gold token is PAD there and would reveal the length."""
  case = CASES[0]
  targets = batch(case)["target_ids"]
  mixed = soft_exit.draw_mixed(
    jax.vmap(jax.random.key)(jnp.arange(len(targets))), targets, 4, 1.0, False
  )
  np.testing.assert_array_equal(mixed, np.repeat(targets[None] != PAD_ID, 4, 0))


def test_projection_starts_as_the_identity():
  sizes = config(CASES[0], soft_exit=True)
  fresh = elmer.initialise(sizes, 0)
  kernel = fresh["soft_exit"]["kernel"]
  np.testing.assert_array_equal(kernel[: sizes.d_model], np.eye(sizes.d_model))
  np.testing.assert_array_equal(kernel[sizes.d_model :], 0)
