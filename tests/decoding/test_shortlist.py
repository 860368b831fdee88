# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Soft exit with a shortlist: which tokens it has, and what it does not change."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from elmer_jax.decoding import decoding_model, one_pass, shortlist
from elmer_jax.decoding.cpu.cpu_model import CPUModel, RoundedTableModel
from elmer_jax.decoding.layerwise_model import LayerwiseModel
from elmer_jax.model import elmer

LENGTH = 12
CONFIG = tiny.model_config(objective__name="soft_exit", model__init_stddev=0.3)
SOURCE_IDS = tiny.batch(rows=12)["source_ids"]


@pytest.fixture(scope="module")
def params() -> dict:
  params = elmer.initialise(CONFIG, 1)
  kernel = params["soft_exit"]["kernel"]  # as after training: predictions have weight
  noise = jax.random.normal(jax.random.key(2), kernel.shape) * 0.3
  params["soft_exit"]["kernel"] = kernel + noise
  bias = jax.random.normal(jax.random.key(3), params["logits_bias"].shape)
  return params | {"logits_bias": bias}


def decode(params: dict, size: int, source_ids=SOURCE_IDS, config=CONFIG, **settings):
  """Returns the predictions of every layer [L, B, T]; without details, the last's."""
  found = one_pass.decode_with_soft_exit(
    config,
    decoding_model.prepare(config, params),
    source_ids,
    shortlist_size=size,
    **({"length": LENGTH, "details": True} | settings),
  )
  return np.asarray(found.ids if found.by_layer is None else found.by_layer)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_list_of_all_tokens_changes_nothing(dtype, norm, params, monkeypatch):
  monkeypatch.setattr(decoding_model, "choose_class", lambda _: RoundedTableModel)
  config = dataclasses.replace(CONFIG, dtype=dtype, norm=norm)
  if norm == "pre":
    norms = elmer.initialise(config, 1)["decoder"]["norm"]
    params = params | {"decoder": params["decoder"] | {"norm": norms}}
    params["encoder"] = params["encoder"] | {"norm": norms}
  every = decode(params, 0, config=config)
  listed = decode(params, CONFIG.vocabulary_size, config=config)
  # Two programs may round states to bfloat16 apart, and so decide near ties apart.
  least = 1.0 if dtype == "float32" else 0.99
  assert (listed == every).mean() >= least


def test_predictions_of_a_text_are_limited_to_its_own_tokens(params, monkeypatch):
  monkeypatch.setattr(decoding_model, "choose_class", lambda _: CPUModel)
  free, listed = decode(params, 0), decode(params, LENGTH)
  # After the first layer each position's best token is on the list.
  np.testing.assert_array_equal(listed[0], free[0])
  below = listed[:-1].swapaxes(0, 1).reshape(len(SOURCE_IDS), -1)
  assert max(len(set(text)) for text in below.tolist()) <= LENGTH
  assert (listed != free).any()
  np.testing.assert_array_equal(decode(params, LENGTH, details=False), listed[-1])
  # It does not depend on the other texts.
  alone = decode(params, LENGTH, SOURCE_IDS[3:4])
  np.testing.assert_array_equal(alone[:, 0], listed[:, 3])


def test_the_last_layer_is_not_limited(params):
  one = decode(params, 1)
  listed_B = one[0, :, 0]
  assert (one[:-1] == listed_B[:, None]).all()
  assert (one[-1] != listed_B[:, None]).any()


def test_positions_beyond_a_text_do_not_count(params):
  lengths = np.array([4, 7] * 6, np.int32)
  found = decode(params, 5, lengths_B=jnp.asarray(lengths))
  for length in (4, 7):
    rows = lengths == length
    short = decode(params, 5, length=length)
    np.testing.assert_array_equal(found[:, rows, :length], short[:, rows])


@pytest.mark.parametrize("model_class", [LayerwiseModel, CPUModel, RoundedTableModel])
def test_selected_tokens_have_the_smallest_gaps(model_class, params):
  model = model_class(elmer.bind(CONFIG, params))
  hidden = jax.random.normal(jax.random.key(0), (2, LENGTH, CONFIG.d_model))
  listed = shortlist.select(model, hidden, 20)
  table = np.asarray(params["tokens"])[: CONFIG.vocabulary_size]
  scores = np.asarray(hidden) @ table.T  # soft exit's arg-max is without the bias
  gap = (scores.max(-1, keepdims=True) - scores).min(1)
  expected = np.sort(np.argsort(gap, axis=-1)[:, :20], axis=-1)
  if (
    model_class is RoundedTableModel
  ):  # only tokens near the end of the list may be others
    for ours, exact in zip(np.asarray(listed.ids_BxK), expected, strict=True):
      assert len(set(ours) & set(exact)) >= 18
    return
  np.testing.assert_array_equal(listed.ids_BxK, expected)
  np.testing.assert_array_equal(listed.predict(model, hidden), scores.argmax(-1))
  np.testing.assert_array_equal(listed.bias_BxK, jnp.zeros((2, 20)))
