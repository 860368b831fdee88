# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Masked diffusion: how many tokens are masked, and what the loss weighs."""

import jax
import jax.numpy as jnp
import numpy as np
import tiny

from elmer_jax.model import elmer
from elmer_jax.objectives import last_layer, masked_diffusion
from elmer_jax.tokenizer.special_ids import PAD_ID


def test_the_number_of_masked_tokens_is_uniform():
  rows, length = 4000, 5
  real = np.arange(8)[None] < np.where(np.arange(rows)[:, None] < rows - 9, length, 0)
  keys = jax.random.split(jax.random.key(0), rows)
  masked = np.asarray(masked_diffusion.draw_masked(keys, jnp.asarray(real)))
  assert not (masked & ~real).any()
  counts = np.bincount(masked[:-9].sum(1), minlength=9) / (rows - 9)
  np.testing.assert_allclose(counts[1 : length + 1], 1 / length, atol=0.025)
  np.testing.assert_allclose(masked[:-9, :length].mean(0), 0.6, atol=0.03)


def test_a_text_of_one_token_is_trained_as_in_one_pass():
  """Its only token is always masked, with the weight 1."""
  config = tiny.model_config(model__dropout=0.0)
  model = elmer.bind(config, elmer.initialise(config, 0))
  batch = tiny.batch()
  first = np.arange(batch["target_ids"].shape[1])[None] < 1
  batch = batch | {"target_ids": np.where(first, batch["target_ids"], PAD_ID)}
  keys = jax.random.split(jax.random.key(0), 8)
  found = masked_diffusion.loss(model, batch, keys, 0, True)
  expected = last_layer.loss(model, batch, keys, 0, True)
  assert found.tokens == expected.tokens == 8
  np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-6)


def test_revealed_tokens_change_the_prediction_and_are_not_scored():
  config = tiny.model_config(model__dropout=0.0)
  model = elmer.bind(config, elmer.initialise(config, 0))
  batch = tiny.batch()
  keys = jax.random.split(jax.random.key(1), 8)
  real = batch["target_ids"] != PAD_ID
  masked = np.asarray(masked_diffusion.draw_masked(keys, jnp.asarray(real)))

  def loss(targets):
    return masked_diffusion.loss(
      model, {**batch, "target_ids": targets}, keys, 0, False
    )

  other = np.where(real & ~masked, 4 + batch["target_ids"] % 80, batch["target_ids"])
  assert loss(other).tokens == real.sum()
  assert float(loss(other).loss) != float(loss(batch["target_ids"]).loss)
