# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""All forms of attention give the same numbers and gradients."""

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


@pytest.fixture(params=["whole", "heads", "queries"])
def caches(request, monkeypatch) -> str:
  """Caches that hold all scores, those of two heads, those of few queries of a head."""
  heads = 5 if request.param == "whole" else 2
  monkeypatch.setattr(attention, "_SCORES_OF_HEADS", heads * 2 * 200 * 200)
  if request.param == "queries":
    monkeypatch.setattr(attention, "_SCORES", 2 * 2 * 200 * 25)
  return request.param


@pytest.mark.parametrize(
  ("length", "memory", "causal"),
  [(7, 9, False), (192, 50, False), (200, 200, True), (131, 131, True), (1, 40, False)],
)
@pytest.mark.parametrize("masked", [False, True])
def test_blocks_are_the_usual_attention(length, memory, causal, masked, caches):
  inputs, mask = arrays(length, memory)
  mask = mask if masked else None
  usual = attention.dot_product(*inputs, mask, causal)
  program = jax.jit(lambda *inputs: attention.without_gradient(*inputs, mask, causal))
  np.testing.assert_allclose(program(*inputs), usual, atol=2e-6)
  if (length, memory) == (200, 200):
    text = program.lower(*inputs).as_text()
    softmaxes = {"whole": 1, "heads": 3, "queries": 3}[caches]
    assert text.count("stablehlo.exponential") == softmaxes
    assert ("stablehlo.while" in text) == (caches == "queries")


def test_blocks_have_the_gradient_of_the_usual_attention():
  inputs, mask = arrays(128, 60)

  def gradients(attend):
    return jax.grad(lambda *a: (attend(*a, mask, False) ** 2).sum(), (0, 1, 2))(*inputs)

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    gradients(attention.without_gradient),
    gradients(attention.dot_product),
  )


@pytest.mark.parametrize(
  ("length", "rows", "block"),
  [(400, 1, 400), (400, 8, 50), (512, 8, 32), (64, 32, 64), (17, 1, 17), (397, 8, 397)],
)
def test_blocks_divide_the_positions(length, rows, block):
  assert attention._block_of(length, rows * 12 * length) == block


@pytest.mark.parametrize("causal", [False, True])
def test_lengths_say_what_a_prefix_mask_says(causal):
  inputs, mask = arrays(12, 12)
  by_lengths = jax.nn.dot_product_attention(
    *inputs, key_value_seq_lengths=attention.lengths_of(mask), is_causal=causal
  )
  by_mask = attention.dot_product(*inputs, mask, causal)
  np.testing.assert_allclose(by_lengths, by_mask, atol=2e-6)
  assert attention.lengths_of(jnp.zeros((1, 5), bool)) == 1


@pytest.mark.gpu
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_a_fused_kernel_gives_the_numbers_of_the_usual_attention(causal, masked):
  inputs, mask = arrays(256, 256)
  inputs = [array.astype(jnp.bfloat16) for array in inputs]
  mask = mask if masked else None

  def gradients(attend):
    def value(*inputs):
      return (attend(*inputs, mask, causal).astype(jnp.float32) ** 2).sum()

    return jax.jit(jax.value_and_grad(value, (0, 1, 2)))(*inputs)

  fused, usual = gradients(attention.with_gradient), gradients(attention.dot_product)
  for one, other in zip(jax.tree.leaves(fused), jax.tree.leaves(usual), strict=True):
    one, other = np.float32(one), np.float32(other)
    np.testing.assert_allclose(one, other, atol=0.02 * np.abs(other).max())
