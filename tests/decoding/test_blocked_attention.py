# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Blocked attention computes what plain attention computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elmer_jax.decoding.cpu import blocked_attention as blocked
from elmer_jax.model import attention


def arrays(batch: int, length: int, memory: int, heads: int):
  rng = np.random.default_rng(0)
  shapes = [(batch, size, heads, 8) for size in (length, memory, memory)]
  mask = np.arange(memory) < memory - 2 * np.arange(batch)[:, None]
  return [jnp.float32(rng.normal(size=shape)) for shape in shapes], jnp.asarray(mask)


@pytest.fixture(params=["whole", "queries"])
def caches(request, monkeypatch) -> None:
  """Caches for all scores, and for those of few queries."""
  if request.param == "queries":
    monkeypatch.setattr(blocked, "_MAX_SCORES", 2 * 5 * 200 * 25)


@pytest.mark.usefixtures("caches")
@pytest.mark.parametrize(
  ("length", "memory", "causal"),
  [(7, 9, False), (192, 50, False), (200, 200, True), (131, 131, True), (1, 40, False)],
)
@pytest.mark.parametrize("masked", [False, True])
def test_blocks_equal_plain_attention(length, memory, causal, masked):
  inputs, mask = arrays(2, length, memory, heads=5)
  mask = mask if masked else None
  plain = attention.dot_product_attention(*inputs, mask, causal)
  program = jax.jit(lambda *inputs: blocked.blocked_attention(*inputs, mask, causal))
  np.testing.assert_allclose(program(*inputs), plain, atol=2e-6)
