# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The parts of the model for CPUs compute what the plain ones compute."""

import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

from elmer_jax.decoding.cpu.cross_attention import CrossAttention, states_are_cheaper
from elmer_jax.model import layers


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
