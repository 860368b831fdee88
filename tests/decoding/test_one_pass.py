# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What makes one-pass decoding fast changes nothing of what it says."""

import dataclasses
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

from elmer_jax.decoding import one_pass
from elmer_jax.decoding.cpu import bfloat16_argmax, encoder_groups
from elmer_jax.decoding.cpu.transposed_linear import FewRows
from elmer_jax.model import elmer, layers
from elmer_jax.model.elmer import PADDING_LOGIT, Head
from elmer_jax.objectives import objective, soft_exit

LENGTH = 12


def plain(config, params, source_ids, exit: str, length: int):
  """Returns every layer's ids by the scanned stack and the head that training uses."""
  model = elmer.bind(config, params)
  encoded, mask = model.encode(source_ids)
  unknown = jnp.zeros((len(source_ids), length), jnp.int32)

  def read(index, hidden, carry):
    if exit == "none":
      return hidden, carry, objective.read_off_ramp(model, hidden, unknown).prediction
    ids = soft_exit.read_off_ramp(model, index, hidden, unknown).prediction
    return soft_exit.project(model, hidden, ids), carry, ids

  blank = model.blank_target(*unknown.shape)
  return model.decode(blank, encoded, mask, after_layer=read)[2]


@pytest.mark.parametrize(
  ("exit", "norm", "length"),
  [("none", "pre", LENGTH), ("soft", "post", LENGTH), ("soft", "post", 4)],
)
def test_the_ids_are_those_of_the_plain_program(exit, norm, length, monkeypatch):
  monkeypatch.setattr(bfloat16_argmax, "pays", lambda: True)
  config = tiny.model_config(
    objective__name="soft_exit" if exit == "soft" else "last_layer",
    model__norm=norm,
    model__init_stddev=0.3,
  )
  params = elmer.initialise(config, 1)
  if exit == "soft":  # as after training: a guess has weight
    kernel = params["soft_exit"]["kernel"]
    noise = jax.random.normal(jax.random.key(2), kernel.shape) * 0.3
    params["soft_exit"]["kernel"] = kernel + noise
  source_ids = tiny.batch(rows=24)["source_ids"]

  def decode(details: bool) -> one_pass.Decoded:
    return one_pass.decode(
      config,
      **one_pass.prepare(config, params)._asdict(),
      source_ids_BxS=source_ids,
      length=length,
      exit=exit,
      details=details,
    )

  read_states = mock.Mock(wraps=layers.Attention._read_states)
  monkeypatch.setattr(
    layers.Attention, "_read_states", lambda *inputs: read_states(*inputs)
  )
  found = decode(details=True)
  # For so few positions as 4 the source's keys and values are not computed.
  assert read_states.call_count == (config.decoder_layers if length == 4 else 0)
  assert len(np.unique(found.by_layer)) > 20
  program = jax.jit(plain, static_argnums=(0, 3, 4))
  expected = program(config, params, source_ids, exit, length)
  np.testing.assert_array_equal(found.by_layer, expected)
  np.testing.assert_array_equal(found.ids, expected[-1])
  np.testing.assert_array_equal(decode(details=False).ids, expected[-1])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_states_need_no_keys(dtype):
  """What few queries find in many states is what keys and values would tell."""
  config = tiny.model_config(model__dtype=dtype, model__init_stddev=0.3)
  attention = layers.Attention(config, 4, nnx.Rngs(0))
  rng = np.random.default_rng(0)
  for name in ("query", "key", "value", "out"):
    bias = getattr(attention, name).bias
    bias[...] = jnp.float32(rng.normal(size=bias.shape))
  inputs = [jnp.float32(rng.normal(size=(2, size, 32))) for size in (3, 50)]
  mask = np.arange(50) < np.array([50, 31])[:, None]
  usual = attention(*inputs, mask, training=False)
  assert not attention._saves_keys(*inputs)
  attention.part_by_head()
  assert attention._saves_keys(*inputs)
  assert not attention._saves_keys(inputs[1], inputs[1])
  found = attention(*inputs, mask, training=False)
  assert found.dtype == usual.dtype
  tolerance = {"float32": 2e-5, "bfloat16": 0.1}[dtype]
  np.testing.assert_allclose(np.float32(found), np.float32(usual), atol=tolerance)


@pytest.mark.parametrize("rows", [1, 5, 300])
@pytest.mark.parametrize("bias", [True, False])
def test_few_rows_are_projected_as_many(rows, bias):
  linear = nnx.Linear(24, 40, use_bias=bias, rngs=nnx.Rngs(0))
  if bias:
    linear.bias[...] = jnp.arange(40.0)
  x = jax.random.normal(jax.random.key(0), (2, rows, 24))
  np.testing.assert_allclose(FewRows(linear)(x), linear(x), atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("widest", [1, 3 * 16 * 64, 2**21])
def test_sources_read_in_groups_are_read_the_same(widest, monkeypatch):
  config = tiny.model_config()
  model = elmer.bind(config, elmer.initialise(config, 0))
  source_ids = tiny.batch(rows=6)["source_ids"]
  states, mask = model.encode(source_ids)
  monkeypatch.setattr(encoder_groups, "_WIDEST", widest)
  found, found_mask = encoder_groups.read(model, source_ids)

  def loops(function) -> int:
    return str(jax.make_jaxpr(function)(source_ids)).count(" scan[")

  # A CPU's branch and the others' each have the layers' loop.
  of_groups = loops(lambda ids: encoder_groups.read(model, ids)) - 2 * loops(
    model.encode
  )
  assert of_groups == (widest < 2**21)
  np.testing.assert_allclose(found, states, atol=1e-6)
  np.testing.assert_array_equal(found_mask, mask)


@pytest.mark.parametrize("length", [LENGTH, 4])
def test_bfloat16_says_what_float32_takes_for_as_likely(length):
  config = tiny.model_config(objective__name="hard_exit", model__init_stddev=0.3)
  params = elmer.initialise(config, 1)
  source_ids = tiny.batch(rows=24)["source_ids"]
  rounded = dataclasses.replace(config, dtype="bfloat16")
  prepared = one_pass.prepare(rounded, params)
  kernel = prepared.params["encoder"]["layers"][0]["feed_forward"]["widen"]["kernel"]
  assert kernel.dtype == prepared.params["tokens"].dtype == jnp.bfloat16
  found = one_pass.decode(
    rounded,
    **prepared._asdict(),
    source_ids_BxS=source_ids,
    length=length,
    exit="none",
    details=True,
  )
  said = jax.jit(rated, static_argnums=0)(config, params, source_ids, found.ids)
  assert len(np.unique(found.ids)) > 5
  assert (found.ids == said.prediction).mean() > 0.95
  np.testing.assert_array_less(said.log_probability + said.nll, 0.1)
  np.testing.assert_allclose(found.log_probability, said.log_probability, atol=0.1)


def rated(config, params, source_ids, ids):
  """Returns what float32 says at the last layer, and what of `ids`."""
  model = elmer.bind(config, params)
  encoded, mask = model.encode(source_ids)
  hidden, _, _ = model.decode(model.blank_target(*ids.shape), encoded, mask)
  return objective.read_off_ramp(model, hidden, ids)


def head_of(table: np.ndarray) -> Head:
  bias = np.zeros(len(table), np.float32)
  bias[-5:] = PADDING_LOGIT
  return Head(jnp.asarray(table), jnp.asarray(bias), jnp.zeros(len(table)))


def screened(states: np.ndarray, head: Head):
  found, is_certain = jax.jit(bfloat16_argmax.predict)(
    jnp.asarray(states), head, jax.jit(bfloat16_argmax.prepare)(head.table_VxD)
  )
  exact = states.astype(np.float64) @ np.asarray(head.table_VxD, np.float64).T
  return np.asarray(found), bool(is_certain), exact + np.asarray(head.bias_V)


def test_a_screened_guess_is_the_exact_one():
  rng = np.random.default_rng(0)
  table = rng.normal(size=(4096, 64)).astype(np.float32)
  table *= rng.lognormal(0, 0.5, (4096, 1)).astype(np.float32)  # as in trained tables
  states = rng.normal(size=(48, 64)).astype(np.float32)
  found, is_certain, exact = screened(states, head_of(table))
  assert is_certain
  np.testing.assert_array_equal(found, exact.argmax(1))


def test_rows_that_bfloat16_confuses_are_told_apart():
  """The best row has near copies that only the last bits of float32 tell apart."""
  rng = np.random.default_rng(1)
  table = rng.normal(size=(1024, 64)).astype(np.float32)
  states = rng.normal(size=(32, 64)).astype(np.float32)
  best = (states @ table[:1019].T).argmax(1)
  spare = np.setdiff1d(np.arange(1019), best)[: 2 * len(best)].reshape(2, -1)
  for rows, sign in zip(spare, (-1, 1), strict=True):
    table[rows] = table[best] + sign * 1e-4 * states
  found, is_certain, exact = screened(states, head_of(table))
  assert is_certain
  np.testing.assert_array_equal(found, exact.argmax(1))
  assert not set(found) & set(best)


def test_among_equals_the_lowest_id_wins():
  rng = np.random.default_rng(2)
  table = rng.normal(size=(256, 64)).astype(np.float32)
  table[200] = table[17] * 1
  states = 3 * table[[17, 200]]
  assert screened(states, head_of(table))[0].tolist() == [17, 17]


def test_more_rivals_than_there_is_room_for_are_not_certain():
  row = np.random.default_rng(3).normal(size=(1, 64)).astype(np.float32)
  assert not screened(row, head_of(np.repeat(row, 512, 0)))[1]
  assert not screened(row * np.nan, head_of(np.repeat(row, 512, 0)))[1]
