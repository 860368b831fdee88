# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The parts of the model for CPUs compute what the plain ones compute."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

from elmer_jax.decoding import decoding_model
from elmer_jax.decoding.cpu import encoder_groups
from elmer_jax.decoding.cpu.cpu_model import CPUModel
from elmer_jax.decoding.cpu.cross_attention import CrossAttention, states_are_cheaper
from elmer_jax.decoding.cpu.transposed_linear import TransposedLinear
from elmer_jax.model import elmer, layers


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("queries", "by_states"), [(3, True), (50, False)])
def test_cross_attention_by_states_or_keys_equals_plain_attention(
  dtype, queries, by_states
):
  config = tiny.model_config(model__dtype=dtype, model__init_stddev=0.3)
  plain = layers.Attention(config, 4, nnx.Rngs(0))
  rng = np.random.default_rng(0)
  for name in ("query", "key", "value", "out"):
    bias = getattr(plain, name).bias
    bias[...] = jnp.float32(rng.normal(size=bias.shape))
  inputs = [jnp.float32(rng.normal(size=(2, size, 32))) for size in (queries, 50)]
  mask = np.arange(50) < np.array([50, 31])[:, None]
  assert states_are_cheaper(queries, inputs[1].shape, heads=4) == by_states
  expected = plain(*inputs, mask)
  found = CrossAttention(plain)(*inputs, mask)
  assert found.dtype == expected.dtype
  tolerance = {"float32": 2e-5, "bfloat16": 0.1}[dtype]
  np.testing.assert_allclose(np.float32(found), np.float32(expected), atol=tolerance)


@pytest.mark.parametrize("rows", [1, 5, 300])
@pytest.mark.parametrize("bias", [True, False])
def test_transposed_weights_give_the_same_projection(rows, bias):
  linear = nnx.Linear(24, 40, use_bias=bias, rngs=nnx.Rngs(0))
  if bias:
    linear.bias[...] = jnp.arange(40.0)
  x = jax.random.normal(jax.random.key(0), (2, rows, 24))
  np.testing.assert_allclose(
    TransposedLinear(linear)(x), linear(x), atol=2e-6, rtol=1e-6
  )


@pytest.mark.parametrize("max_entries", [1, 3 * 16 * 64, 2**21])
def test_sources_in_groups_are_encoded_the_same(max_entries, monkeypatch):
  config = tiny.model_config()
  params = elmer.initialise(config, 0)
  source_ids = tiny.batch(rows=6)["source_ids"]
  expected, mask = elmer.bind(config, params).encode(source_ids)
  monkeypatch.setattr(encoder_groups, "_MAX_ENTRIES", max_entries)
  found, found_mask = CPUModel(elmer.bind(config, params)).encode(source_ids)
  np.testing.assert_allclose(found, expected, atol=1e-6)
  np.testing.assert_array_equal(found_mask, mask)


def test_groups_of_sources_take_less_memory():
  config = dataclasses.replace(tiny.model_config(), encoder_feed_forward=8192)
  params = decoding_model.prepare(config, elmer.initialise(config, 0))
  source_ids = jnp.zeros((64, 16), jnp.int32)

  @jax.jit
  def encode(params, source_ids):
    return decoding_model.bind(config, params).encode(source_ids)

  memory = encode.lower(params, source_ids).compile().memory_analysis()
  assert memory.temp_size_in_bytes < 4 * 64 * 16 * 8192
