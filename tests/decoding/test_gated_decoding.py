# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Gated decoding: no more layers than the gate allows, and the ids of that depth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import tiny_run

from elmer_jax.core.errors import UserError
from elmer_jax.decoding import decoding_model, one_pass
from elmer_jax.decoding.gate import gated_decoding
from elmer_jax.decoding.gate.gated_decoding import Gate
from elmer_jax.model import depth, elmer
from elmer_jax.tokenizer.special_ids import PAD_ID

LENGTH = 12
CONFIG = tiny.model_config(model__decoder_layers=4, model__norm="pre")
SOURCES = tiny.batch(rows=6)["source_ids"]


@pytest.fixture(scope="module")
def params() -> dict:
  params = tiny_run.listening(elmer.initialise(CONFIG, 0))
  # Dropped positions are recognised by PAD, so it must not be predicted.
  params["logits_bias"] = params["logits_bias"].at[PAD_ID].set(-1e4)
  return params


@pytest.fixture(scope="module")
def gate() -> Gate:
  """A random gate, which differs from text to text and layer to layer."""
  shape = (CONFIG.decoder_layers - 1, CONFIG.d_model, 2)
  weights_LxDx2 = jax.random.normal(jax.random.key(3), shape)
  return Gate(weights_LxDx2, jnp.zeros(shape[::2]), jnp.full(shape[0], 0.5))


def decode(params, gate, threshold, sources=SOURCES, trim=0, details=True):
  settings = {"length": LENGTH, "trim": trim, "details": details}
  prepared = decoding_model.prepare(CONFIG, params)
  return gated_decoding.decode(CONFIG, prepared, gate, threshold, sources, **settings)


def observe(params, **settings) -> gated_decoding.Observed:
  prepared = decoding_model.prepare(CONFIG, params)
  return gated_decoding.observe(CONFIG, prepared, SOURCES, length=LENGTH, **settings)


def at_depth(params, layers: int) -> np.ndarray:
  config, cut = depth.cut(CONFIG, params, layers)
  prepared = decoding_model.prepare(config, cut)
  found = one_pass.decode_without_exit(config, prepared, SOURCES, length=LENGTH)
  return np.asarray(found.ids)


def test_threshold_1_is_full_depth(params, gate):
  found = decode(params, gate, 1.0)
  prepared = decoding_model.prepare(CONFIG, params)
  full = one_pass.decode_without_exit(
    CONFIG, prepared, SOURCES, length=LENGTH, details=True
  )
  np.testing.assert_array_equal(found.ids, full.ids)
  np.testing.assert_allclose(found.log_probability, full.log_probability, atol=1e-4)
  assert found.layers.tolist() == [4] * 6 and found.ran == 4


@pytest.mark.parametrize("trim", [0, 1])
@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_the_ids_are_the_same_without_details(params, gate, threshold, trim):
  every = decode(params, gate, threshold, trim=trim)
  found = decode(params, gate, threshold, trim=trim, details=False)
  np.testing.assert_array_equal(found.ids, every.ids)
  assert every.log_probability is not None and found.log_probability is None


def test_threshold_0_is_depth_1(params, gate):
  found = decode(params, gate, 0.0)
  np.testing.assert_array_equal(found.ids, at_depth(params, 1))
  assert found.layers.tolist() == [1] * 6 and found.ran == 1


def test_texts_are_those_of_their_depth_and_no_more_layers_run(params, gate):
  stable_LxB = gated_decoding.score_layers(gate, observe(params)).stable_B
  threshold = float(jnp.median(stable_LxB.max(0)))
  found = decode(params, gate, threshold)
  expected = [
    next((n for n, s in enumerate(column, 1) if s > threshold), 4)
    for column in np.asarray(stable_LxB).T
  ]
  assert found.layers.tolist() == expected and len(set(expected)) > 1
  assert found.ran == max(expected)
  for row, layers in enumerate(expected):
    np.testing.assert_array_equal(found.ids[row], at_depth(params, layers)[row])


def test_a_cut_gate_fits_a_cut_model(params, gate):
  config, lowest = depth.cut(CONFIG, params, 2)
  free = decode(params, gate, 0.5)
  limited = gated_decoding.decode(
    *(config, decoding_model.prepare(config, lowest), gated_decoding.cut(gate, 2)),
    *(0.5, SOURCES),
    length=LENGTH,
  )
  np.testing.assert_array_equal(limited.layers, np.minimum(free.layers, 2))
  assert free.ran > 2
  for row, layers in enumerate(limited.layers.tolist()):
    np.testing.assert_array_equal(limited.ids[row], at_depth(params, layers)[row])


def test_a_text_does_not_depend_on_its_batch(params, gate):
  together = decode(params, gate, 0.5)
  for row, source in enumerate(SOURCES):
    alone = decode(params, gate, 0.5, source[None])
    np.testing.assert_array_equal(alone.ids[0], together.ids[row])
    assert alone.ran == together.layers[row]


@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_dropped_positions_are_those_after_each_text(params, gate, threshold):
  """Also where other texts of the batch are longer."""
  found = decode(params, gate, threshold, trim=2)
  observed = observe(params, gate=gate, trim=2).ids_LxBxT
  for row, source in enumerate(SOURCES):
    layers = int(found.layers[row])
    np.testing.assert_array_equal(found.ids[row], observed[layers - 1, row])
    alone = decode(params, gate, threshold, source[None], trim=2)
    np.testing.assert_array_equal(alone.ids[0], found.ids[row])
  kept_B = (np.asarray(found.ids) != PAD_ID).sum(-1)
  assert set(kept_B) <= {3, 6, 9, 12} and len(set(kept_B)) > 1


def test_positions_after_the_end_do_not_count():
  logits_BxTx2 = (
    jax.random.normal(jax.random.key(0), (3, 8, 2)) - jnp.array([0.0, 9.0])[None, None]
  )
  ended = logits_BxTx2.at[:, 5, 1].set(1.0)
  changed = ended.at[:, 5:, 0].set(-7.0).at[:, 6:, 1].set(5.0)
  output = gated_decoding.score_gate(ended)
  for a, b in zip(output, gated_decoding.score_gate(changed), strict=True):
    np.testing.assert_array_equal(a, b)
  assert output.length_B.tolist() == [5, 5, 5]
  within = gated_decoding.score_gate(ended.at[:, 4, 0].set(-7.0))
  assert (within.stable_B < output.stable_B).all()
  longer = gated_decoding.score_gate(ended, trim_logit=2.0)
  assert (longer.length_B > 5).all()
  np.testing.assert_array_equal(longer.stable_B, output.stable_B)
  without_end = gated_decoding.score_gate(logits_BxTx2)
  assert without_end.length_B.tolist() == [8, 8, 8]


def test_static_depth_keeps_the_lowest_layers(params):
  observed = observe(params).ids_LxBxT
  for layers in range(1, 5):
    np.testing.assert_array_equal(at_depth(params, layers), observed[layers - 1])
  with pytest.raises(UserError, match="depth 5 must lie between 1 and .* 4"):
    depth.cut(CONFIG, params, 5)


@pytest.mark.parametrize("objective", ["soft_exit", "autoregressive"])
def test_some_models_cannot_have_a_gate(objective):
  with pytest.raises(UserError, match="a gate is for models trained with"):
    gated_decoding.check(objective, CONFIG)
