# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The fused kernel of training computes what plain attention computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elmer_jax.model import attention


def arrays(length: int, memory: int):
  rng = np.random.default_rng(0)
  shapes = [(2, size, 5, 8) for size in (length, memory, memory)]
  mask = np.arange(memory) < np.array([memory, memory - 2])[:, None]
  return [jnp.float32(rng.normal(size=shape)) for shape in shapes], jnp.asarray(mask)


@pytest.mark.parametrize("causal", [False, True])
def test_lengths_of_a_prefix_mask_replace_the_mask(causal):
  inputs, mask = arrays(12, 12)
  by_lengths = jax.nn.dot_product_attention(
    *inputs, key_value_seq_lengths=attention.prefix_lengths(mask), is_causal=causal
  )
  by_mask = attention.dot_product_attention(*inputs, mask, causal)
  np.testing.assert_allclose(by_lengths, by_mask, atol=2e-6)
  assert attention.prefix_lengths(jnp.zeros((1, 5), bool)) == 1


@pytest.mark.gpu
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_fused_kernel_has_values_and_gradients_of_plain_attention(causal, masked):
  inputs, mask = arrays(256, 256)
  inputs = [array.astype(jnp.bfloat16) for array in inputs]
  mask = mask if masked else None

  def gradients(attend):
    def value(*inputs):
      return (attend(*inputs, mask, causal).astype(jnp.float32) ** 2).sum()

    return jax.jit(jax.value_and_grad(value, (0, 1, 2)))(*inputs)

  fused = gradients(attention.training_attention)
  usual = gradients(attention.dot_product_attention)
  for one, other in zip(jax.tree.leaves(fused), jax.tree.leaves(usual), strict=True):
    one, other = np.float32(one), np.float32(other)
    np.testing.assert_allclose(one, other, atol=0.02 * np.abs(other).max())
