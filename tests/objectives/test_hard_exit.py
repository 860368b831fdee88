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


def test_rows_at_full_depth_are_as_many_as_told():
  keys = jax.vmap(jax.random.key)(jnp.arange(2000))
  drawn = np.asarray(hard_exit.draw_exit_layers(keys, 20, 4, 0.25))
  stays = (drawn == 3).all(1)
  assert abs(stays.mean() - 0.25) < 0.03
  share = np.bincount(drawn[~stays].ravel()) / drawn[~stays].size
  np.testing.assert_allclose(share, 0.25, atol=0.02)
  none = np.asarray(hard_exit.draw_exit_layers(keys, 20, 4, 0.0))
  np.testing.assert_array_equal(none[~stays], drawn[~stays])


def test_rows_lose_positions_behind_their_text_only():
  keys = jax.vmap(jax.random.key)(jnp.arange(2000))
  targets = np.where(np.arange(12)[None] < np.array([[5], [12]]), 7, PAD_ID)
  targets = np.repeat(targets, 1000, axis=0)
  seen = np.asarray(hard_exit.draw_seen(keys, targets, 0.5))
  rooms = seen.sum(1)
  np.testing.assert_array_equal(seen, np.arange(12)[None] < rooms[:, None])
  assert (seen >= (targets != PAD_ID)).all() and (rooms[1000:] == 12).all()
  # Of the short ones half keep all; the others' rooms, 5 to 12, are equally common.
  counts = np.bincount(rooms[:1000], minlength=13)[5:]
  np.testing.assert_allclose(counts / 1000, [*[0.0625] * 7, 0.5625], atol=0.05)


def test_at_full_depth_the_loss_is_the_last_layers():
  found = {}
  sizes = tiny.model_config()
  model = elmer.bind(sizes, elmer.initialise(sizes, 0))
  keys = jax.vmap(jax.random.key)(jnp.arange(8))
  for name in ("hard_exit", "last_layer"):
    config = tiny.configure(objective__name=name, objective__full_depth=1.0)
    form = objectives.get(config).loss
    found[name] = jax.jit(lambda f=form: f(model, tiny.batch(), keys, True))()
  np.testing.assert_allclose(*(sums.loss for sums in found.values()), rtol=1e-6)


@pytest.mark.parametrize(
  ("key", "value", "line"),
  [
    ("full_depth", 1.5, "is a share, 0 to 1"),
    ("dropped", -0.5, "is a share, 0 to 1"),
    ("exit_threshold", -1.0, "0 nats or"),
  ],
)
def test_bad_options_are_one_line(key, value, line):
  config = tiny.configure(objective__name="hard_exit", **{f"objective__{key}": value})
  with pytest.raises(UserError, match=line):
    objectives.get(config)
