# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Hard exit: who is sure leaves, is copied upward, and says the same from there on."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import tiny_run
import tiny_text

import elmer_jax
from elmer_jax import objectives
from elmer_jax.core.errors import UserError
from elmer_jax.decoding import one_pass
from elmer_jax.model import elmer
from elmer_jax.objectives import hard_exit
from elmer_jax.tokenizer.special_ids import PAD_ID

LENGTH = 12
TEXTS = [text[:20] for text in tiny_text.documents(5)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
  """Random weights with a loud table, so that tokens are sure in different layers."""
  workdir = tmp_path_factory.mktemp("run")
  config = tiny.configure(objective__name="hard_exit", objective__exit_threshold=1.5)
  config.data.source_length = 24
  tiny_run.write(config, workdir, tiny_text.vocabulary())
  loaded = elmer_jax.load(str(workdir))
  params = loaded.params | {"tokens": 20 * loaded.params["tokens"]}
  return dataclasses.replace(loaded, params=params)


@pytest.fixture(scope="module")
def source_ids() -> np.ndarray:
  return tiny.batch()["source_ids"]


def decode(model, source_ids, exit="hard", threshold=0.0) -> one_pass.Decoded:
  call = {"length": LENGTH, "exit": exit, "threshold": threshold, "details": True}
  return one_pass.decode(model.config, model.prepared, source_ids, **call)


def spread_threshold(model, source_ids) -> float:
  """A threshold at which tokens leave in every layer."""
  every = model.off_ramp_predictions(source_ids, LENGTH)
  threshold = float(np.median(every.entropy[:-1]))
  left = np.asarray(decode(model, source_ids, threshold=threshold).exit_layers)
  assert set(np.unique(left)) == {0, 1, 2}
  return threshold


def test_without_a_threshold_nobody_leaves(model, source_ids):
  hard, none = decode(model, source_ids), decode(model, source_ids, "none")
  assert (hard.exit_layers == model.config.decoder_layers - 1).all()
  np.testing.assert_array_equal(hard.by_layer, none.by_layer)
  # Two programs: they sum over the vocabulary in another order.
  np.testing.assert_allclose(hard.log_probability, none.log_probability, atol=1e-5)


def test_below_the_highest_entropy_all_leave_at_the_first_layer(model, source_ids):
  highest = math.log(model.config.vocabulary_size)
  hard = decode(model, source_ids, threshold=highest)
  assert (hard.exit_layers == 0).all()
  first = decode(model, source_ids, "none").by_layer[0]
  np.testing.assert_array_equal(hard.ids, first)
  np.testing.assert_array_equal(hard.by_layer, np.repeat(first[None], 3, 0))


def test_whoever_left_is_copied_upward(model, source_ids):
  """The layers run as in pre-training with the exit layers that came out."""
  threshold = spread_threshold(model, source_ids)
  hard = decode(model, source_ids, threshold=threshold)
  told = {"target_length": LENGTH, "exit_layers_BxT": np.asarray(hard.exit_layers)}
  logits = model.off_ramp_logits(source_ids, **told)
  np.testing.assert_array_equal(hard.by_layer, logits.argmax(-1))
  np.testing.assert_array_equal(hard.ids, logits[-1].argmax(-1))
  found = model.off_ramp_predictions(source_ids, **told)
  own = np.asarray(hard.exit_layers)
  layers = np.arange(3)[:, None, None]
  # Below its exit a token was not sure, at its exit it was, but for the last layer.
  assert (np.asarray(found.entropy)[layers < own] >= threshold).all()
  leaves = (layers == own) & (layers < 2)
  assert (np.asarray(found.entropy)[leaves] < threshold).all()
  np.testing.assert_allclose(
    hard.log_probability, jnp.log(found.probability[-1]), atol=1e-5
  )


@pytest.mark.parametrize("exit", [pytest.param("none", marks=pytest.mark.slow), "hard"])
def test_given_lengths_equal_a_run_with_that_length(model, source_ids, exit):
  lengths = np.array([3, 5, 5, 12, 1, 3, 12, 5], np.int32)
  threshold = spread_threshold(model, source_ids)
  told = one_pass.decode(
    *(model.config, model.prepared, source_ids),
    **{"length": LENGTH, "exit": exit, "threshold": threshold},
    oracle_lengths_B=lengths,
  )
  for length in np.unique(lengths):
    short = one_pass.decode(
      *(model.config, model.prepared, source_ids),
      **{"length": int(length), "exit": exit, "threshold": threshold},
    )
    rows = lengths == length
    np.testing.assert_array_equal(told.ids[rows, :length], short.ids[rows])
    assert (np.asarray(told.ids)[rows, length:] == PAD_ID).all()


def test_results_tell_where_tokens_left(model, source_ids):
  threshold = spread_threshold(model, source_ids)
  every = elmer_jax.generate(
    model, TEXTS, exit="hard", threshold=threshold, remove_repeats=False
  )
  rows = [[0, *model.vocabulary.encode(text), 2] for text in TEXTS]
  longest = max(map(len, rows))
  padded = np.array([row + [1] * (longest - len(row)) for row in rows], np.int32)
  hard = decode(model, padded, threshold=threshold)
  for row, result in enumerate(every):
    count = one_pass.text_length(np.asarray(hard.ids[row]))
    np.testing.assert_array_equal(result.exit_layers, hard.exit_layers[row, :count])
    np.testing.assert_array_equal(result.token_ids, hard.ids[row, :count])


def test_the_threshold_comes_with_the_checkpoint(model):
  assert model.exit_threshold == 1.5
  usual, told = (
    elmer_jax.generate(model, TEXTS, **call) for call in ({}, {"threshold": 1.5})
  )
  for a, b in zip(usual, told, strict=True):
    np.testing.assert_array_equal(a.token_ids, b.token_ids)
    np.testing.assert_array_equal(a.exit_layers, b.exit_layers)


@pytest.mark.parametrize(
  ("call", "line"),
  [
    ({"threshold": -0.1}, "--threshold=-0.1 must lie between 0"),
    ({"threshold": 50.0}, "must lie between 0 .* and 5.80 nats"),
    ({"threshold": math.nan}, "must lie between 0"),
    ({"exit": "none", "threshold": 1.0}, "is for --exit=hard; the exit is none"),
    ({"exit": "soft"}, "use --exit=hard or --exit=none"),
    ({"exit": "hart"}, "--exit is one of none, soft, hard; not 'hart'"),
  ],
)
def test_what_can_not_be_done_is_one_line(model, call, line):
  with pytest.raises(UserError, match=line):
    elmer_jax.generate(model, TEXTS, **call)


def test_exits_fit_what_was_trained():
  for objective, exits in {
    "lplm": ["none", "hard"],
    "hard_exit": ["hard", "none"],
    "soft_exit": ["soft"],
    "last_layer": ["none"],
    "autoregressive": ["none"],
  }.items():
    assert one_pass.default_exit(objective) == exits[0]
    for exit in one_pass.EXITS:
      if exit in exits:
        one_pass.check_exit(exit, objective)
      else:
        with pytest.raises(UserError, match=f"objective {objective}, use --exit="):
          one_pass.check_exit(exit, objective)


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
