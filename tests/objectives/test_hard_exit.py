# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The hard-exit objective: exit layers, dropped positions, its loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from elmer_jax import objectives
from elmer_jax.core.errors import UserError
from elmer_jax.model import elmer
from elmer_jax.objectives import hard_exit
from elmer_jax.tokenizer.special_ids import PAD_ID


def test_full_depth_is_the_share_of_rows_that_reach_the_last_layer():
  keys = jax.vmap(jax.random.key)(jnp.arange(2000))
  drawn = np.asarray(hard_exit.draw_exit_layers(keys, 20, 4, 0.25))
  is_full_depth = (drawn == 3).all(1)
  assert abs(is_full_depth.mean() - 0.25) < 0.03
  share = np.bincount(drawn[~is_full_depth].ravel()) / drawn[~is_full_depth].size
  np.testing.assert_allclose(share, 0.25, atol=0.02)
  none = np.asarray(hard_exit.draw_exit_layers(keys, 20, 4, 0.0))
  np.testing.assert_array_equal(none[~is_full_depth], drawn[~is_full_depth])


def test_only_positions_after_the_text_are_dropped():
  keys = jax.vmap(jax.random.key)(jnp.arange(2000))
  targets = np.where(np.arange(12)[None] < np.array([[5], [12]]), 7, PAD_ID)
  targets = np.repeat(targets, 1000, axis=0)
  kept = np.asarray(hard_exit.draw_kept(keys, targets, 0.5))
  lengths = kept.sum(1)
  np.testing.assert_array_equal(kept, np.arange(12)[None] < lengths[:, None])
  assert (kept >= (targets != PAD_ID)).all() and (lengths[1000:] == 12).all()
  # Half of the short rows keep all; the other half's lengths 5 to 12 are uniform.
  counts = np.bincount(lengths[:1000], minlength=13)[5:]
  np.testing.assert_allclose(counts / 1000, [*[0.0625] * 7, 0.5625], atol=0.05)


def test_at_full_depth_the_loss_is_that_of_the_last_layer():
  found = {}
  sizes = tiny.model_config()
  model = elmer.bind(sizes, elmer.initialise(sizes, 0))
  keys = jax.vmap(jax.random.key)(jnp.arange(8))
  for name in ("hard_exit", "last_layer"):
    config = tiny.configure(objective__name=name, objective__full_depth=1.0)
    loss = objectives.get(config).loss
    found[name] = jax.jit(lambda f=loss: f(model, tiny.batch(), keys, 0, True))()
  np.testing.assert_allclose(*(sums.loss for sums in found.values()), rtol=1e-6)


@pytest.mark.parametrize(
  ("key", "value", "line"),
  [
    ("full_depth", 1.5, "must be from 0 to 1"),
    ("dropped", -0.5, "must be from 0 to 1"),
    ("exit_threshold", -1.0, "must be 0 nats or more"),
  ],
)
def test_invalid_options_are_refused(key, value, line):
  config = tiny.configure(objective__name="hard_exit", **{f"objective__{key}": value})
  with pytest.raises(UserError, match=line):
    objectives.get(config)
