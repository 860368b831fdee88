# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Decoding strategies: what each returns, and which models each is for."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import tiny_run
import tiny_text

import elmer_jax
from elmer_jax import Autoregressive, Depth, Gated, HardExit, NoExit, SoftExit
from elmer_jax.core.errors import UserError
from elmer_jax.decoding import strategies
from elmer_jax.decoding.decoded import Decoded
from elmer_jax.decoding.incremental import Search
from elmer_jax.tokenizer.special_ids import PAD_ID

LENGTH = 12
# Of log-probabilities of two programs that sum over the vocabulary in another order.
# Logits here are near 100, where float32 resolves 8e-6; a sum adds a few of these.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def model(tmp_path_factory):
  """Random weights with a scaled table, so that entropies differ between layers."""
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


@pytest.fixture(scope="module")
def threshold(model, source_ids) -> float:
  """An entropy threshold at which tokens exit in every layer."""
  predictions = model.off_ramp_predictions(source_ids, LENGTH)
  threshold = float(np.median(predictions.entropy[:-1]))
  exit_layers = decode(model, HardExit(threshold), source_ids).exit_layers
  assert set(np.unique(exit_layers)) == {0, 1, 2}
  return threshold


def decode(model, strategy, source_ids, length: int = LENGTH, **options) -> Decoded:
  options = {"details": True} | options
  return strategy.resolve(model).decode(model, source_ids, length, **options)


def test_without_a_threshold_no_token_exits(model, source_ids):
  hard = decode(model, HardExit(0.0), source_ids)
  none = decode(model, NoExit(), source_ids)
  assert (hard.exit_layers == 2).all() and (none.exit_layers == 2).all()
  np.testing.assert_array_equal(hard.by_layer, none.by_layer)
  np.testing.assert_allclose(hard.log_probability, none.log_probability, atol=TOLERANCE)


def test_at_the_highest_entropy_all_tokens_exit_at_the_first_layer(model, source_ids):
  highest = math.log(model.config.vocabulary_size)
  hard = decode(model, HardExit(highest), source_ids)
  assert (hard.exit_layers == 0).all()
  first = decode(model, NoExit(), source_ids).by_layer[0]
  np.testing.assert_array_equal(hard.ids, first)
  np.testing.assert_array_equal(hard.by_layer, np.repeat(first[None], 3, 0))


def test_states_of_exited_tokens_are_copied_upward(model, source_ids, threshold):
  """The layers run as in pre-training with these exit layers."""
  hard = decode(model, HardExit(threshold), source_ids)
  own = np.asarray(hard.exit_layers)
  given = {"target_length": LENGTH, "exit_layers_BxT": own}
  logits = model.off_ramp_logits(source_ids, **given)
  np.testing.assert_array_equal(hard.by_layer, logits.argmax(-1))
  np.testing.assert_array_equal(hard.ids, logits[-1].argmax(-1))
  found = model.off_ramp_predictions(source_ids, **given)
  entropy, layers = np.asarray(found.entropy), np.arange(3)[:, None, None]
  assert (entropy[layers < own] >= threshold).all()
  assert (entropy[(layers == own) & (layers < 2)] < threshold).all()
  np.testing.assert_allclose(
    hard.log_probability, jnp.log(found.probability[-1]), atol=TOLERANCE
  )


@pytest.mark.parametrize(
  "kind", [pytest.param(NoExit, marks=pytest.mark.slow), HardExit]
)
def test_given_lengths_equal_a_run_with_that_length(model, source_ids, threshold, kind):
  strategy = kind(threshold) if kind is HardExit else kind()
  lengths = np.array([3, 5, 5, 12, 1, 3, 12, 5], np.int32)
  given = decode(model, strategy, source_ids, lengths_B=lengths)
  for length in np.unique(lengths):
    short = decode(model, strategy, source_ids, int(length))
    rows = lengths == length
    np.testing.assert_array_equal(given.ids[rows, :length], short.ids[rows])
    assert (np.asarray(given.ids)[rows, length:] == PAD_ID).all()


def test_depth_is_the_model_of_the_lowest_layers(model, source_ids):
  every = decode(model, NoExit(), source_ids).by_layer
  for layers in (1, 2, 3):
    found = decode(model, Depth(layers), source_ids)
    np.testing.assert_array_equal(found.ids, every[layers - 1])
    assert (found.exit_layers == layers - 1).all()
    assert len(found.by_layer) == layers


def test_strategies_are_values(model):
  assert SoftExit(5) == SoftExit(5) != SoftExit(6)
  assert len({HardExit(0.5), HardExit(0.5), HardExit(), NoExit()}) == 3
  assert HardExit().resolve(model) == HardExit(1.5)
  assert Autoregressive.of(Search(beams=4)) == Autoregressive(beams=4)


@pytest.mark.parametrize(
  ("strategy", "line"),
  [
    (HardExit(-0.1), "threshold=-0.1 must be between 0"),
    (HardExit(50.0), "must be between 0 .* and 5.80 nats"),
    (HardExit(math.nan), "must be between 0"),
    (SoftExit(), "does not fit this checkpoint: .* use exit=hard or exit=none"),
    (Depth(4), "depth 4 must lie between 1 and the model's 3 decoder layers"),
    (Gated(), "this checkpoint has no gate"),
    (Autoregressive(), "beams are for autoregressive models"),
  ],
)
def test_a_strategy_that_does_not_fit_is_refused(model, strategy, line):
  with pytest.raises(UserError, match=line):
    strategy.resolve(model)


def test_shortlists_are_bounded_by_the_vocabulary(model):
  model = dataclasses.replace(model, objective="soft_exit")
  for size in (-1, model.config.vocabulary_size + 1):
    with pytest.raises(UserError, match="must be between 1 and the .* tokens"):
      SoftExit(size).resolve(model)


@pytest.mark.parametrize(
  ("words", "strategy"),
  [
    ({}, HardExit()),
    ({"exit": "none"}, NoExit()),
    ({"exit": "hard", "threshold": 0.5}, HardExit(0.5)),
    ({"threshold": 0.5}, HardExit(0.5)),
    ({"exit": "gated", "threshold": 0.9}, Gated(0.9)),
    ({"exit": "soft", "shortlist": 7}, SoftExit(7)),
    ({"depth": 2}, Depth(2)),
    ({"exit": "none", "depth": 2}, Depth(2)),
    ({"search": Search(beams=4)}, Autoregressive(beams=4)),
  ],
)
def test_words_of_the_command_line_name_strategies(model, words, strategy):
  assert strategies.from_words(model, **words) == strategy


@pytest.mark.parametrize(
  ("words", "line"),
  [
    ({"exit": "hart"}, "exit is one of none, soft, hard, gated, .*not 'hart'"),
    ({"exit": "none", "threshold": 1.0}, "threshold is for exit=hard or exit=gated"),
    ({"shortlist": 3}, "shortlist is for exit=soft"),
    ({"exit": "hard", "depth": 2}, "depth is for exit=none"),
  ],
)
def test_words_that_do_not_belong_together_are_refused(model, words, line):
  with pytest.raises(UserError, match=line):
    strategies.from_words(model, **words)


@pytest.mark.parametrize(
  ("objective", "default", "others"),
  [
    ("lplm", NoExit, [HardExit]),
    ("hard_exit", HardExit, [NoExit]),
    ("soft_exit", SoftExit, []),
    ("last_layer", NoExit, []),
    ("autoregressive", Autoregressive, []),
  ],
)
def test_strategies_fit_the_objective_of_the_training(
  model, objective, default, others
):
  model = dataclasses.replace(model, objective=objective)
  assert type(strategies.default(model)) is default
  for kind in (NoExit, SoftExit, HardExit, Autoregressive):
    if kind in (default, *others):
      kind().resolve(model)
    else:
      with pytest.raises(UserError):
        kind().resolve(model)
