# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Strategies of a DAG model: their settings, what they return, what is refused."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import tiny_run
import tiny_text
from etils import epath

import elmer_jax
from elmer_jax import DagGreedy, DagLookahead, DagViterbi, NoExit
from elmer_jax.core.errors import UserError
from elmer_jax.decoding import dag_settings, token_pairs
from elmer_jax.tokenizer.special_ids import EOS_ID

LENGTH = 12


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run")
  config = tiny.configure(objective__name="dag", objective__exits="soft")
  tiny_run.write(config, workdir, tiny_text.vocabulary())
  return workdir


@pytest.fixture(scope="module")
def model(run):
  loaded = elmer_jax.load(str(run))
  params = loaded.params | {"tokens": 20 * loaded.params["tokens"]}
  return dataclasses.replace(loaded, params=params)


@pytest.fixture(scope="module")
def pairs(model):
  texts = model.vocabulary.encode_batch(tiny_text.documents(30))
  return token_pairs.count([np.append(ids, EOS_ID) for ids in texts], model.vocabulary)


def decode(model, strategy, details=True):
  source_ids = tiny.batch()["source_ids"]
  return strategy.resolve(model).decode(model, source_ids, LENGTH, details=details)


@pytest.mark.parametrize("strategy", [DagViterbi(0.7), DagLookahead(), DagGreedy()])
def test_details_change_no_ids_and_the_last_layer_gives_them(model, strategy):
  detailed, bare = decode(model, strategy), decode(model, strategy, details=False)
  np.testing.assert_array_equal(detailed.ids, bare.ids)
  assert detailed.by_layer.shape == (3, 8, LENGTH)
  is_text = np.cumsum(np.asarray(detailed.ids) == EOS_ID, -1) == 0
  np.testing.assert_array_equal(
    np.asarray(detailed.by_layer)[-1][is_text], np.asarray(detailed.ids)[is_text]
  )


def test_a_higher_exponent_gives_no_shorter_text(model):
  lengths = [
    (np.asarray(decode(model, DagViterbi(exponent), False).ids) > 1).sum(-1)
    for exponent in (0.0, 1.0, 3.0)
  ]
  assert (np.diff(lengths, axis=0) >= 0).all()


def test_settings_are_fitted_stored_and_read(model, run, pairs, tmp_path):
  assert DagViterbi().resolve(model) == DagViterbi(1.0, 0.0)  # nothing was fitted
  fitted, rouge = dag_settings.fit(
    model.config,
    model.decoding_params,
    model.dag.options,
    pairs,
    model.vocabulary,
    [tiny.batch()],
  )
  assert fitted.length_exponent in dag_settings.LENGTH_EXPONENTS
  assert fitted.pair_weight in dag_settings.PAIR_WEIGHTS and 0 <= rouge <= 100
  stored = fitted._replace(length_exponent=1.3, pair_weight=0.2)
  folder = epath.Path(tmp_path)
  dag_settings.write(folder, stored)
  read = dag_settings.read(folder, model.dag.options, 330)
  assert read[:3] == stored[:3]
  for ours, theirs in zip(read.pairs, pairs, strict=True):
    np.testing.assert_array_equal(ours, theirs)
  with_pairs = dataclasses.replace(model, dag=read)
  assert DagViterbi().resolve(with_pairs) == DagViterbi(1.3, 0.2)
  assert DagViterbi(0.5).resolve(with_pairs) == DagViterbi(0.5, 0.2)
  assert (
    decode(with_pairs, DagViterbi()).ids != decode(model, DagViterbi(1.3)).ids
  ).any()


def test_damaged_settings_are_named(model, pairs, tmp_path):
  folder = epath.Path(tmp_path)
  dag_settings.write(folder, model.dag)
  path = tmp_path / "dag.npz"
  content = path.read_bytes()
  for damaged in (b"", content[:60], b"no archive"):
    path.write_bytes(damaged)
    with pytest.raises(UserError, match="dag.npz can't be read: delete it"):
      dag_settings.read(folder, model.dag.options, 330)
  dag_settings.write(folder, model.dag._replace(pair_weight=0.2, pairs=pairs))
  with pytest.raises(UserError, match="dag.npz belongs to another model"):
    dag_settings.read(folder, model.dag.options, 331)
  dag_settings.write(folder, model.dag._replace(length_exponent=float("nan")))
  with pytest.raises(UserError, match="dag.npz belongs to another model"):
    dag_settings.read(folder, model.dag.options, 330)


@pytest.mark.parametrize(
  ("strategy", "line"),
  [
    (NoExit(), "use exit=viterbi or exit=lookahead or exit=greedy"),
    (DagViterbi(-0.1), "length_exponent=-0.1 must be between 0 and 5"),
    (DagViterbi(jnp.nan), "length_exponent=nan must be between 0 and 5"),
    (DagViterbi(pair_weight=6.0), "pair_weight=6 must be between 0 and 5"),
    (DagViterbi(pair_weight=0.1), "this checkpoint has no token pairs"),
  ],
)
def test_settings_that_do_not_fit_are_refused(model, strategy, line):
  with pytest.raises(UserError, match=line):
    strategy.resolve(model)


def test_more_vertices_than_positions_are_refused(model):
  with pytest.raises(UserError, match="target_length 21 must be between 1 and"):
    elmer_jax.generate(model, ["a"], target_length=21)
