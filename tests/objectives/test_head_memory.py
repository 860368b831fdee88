# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The chunked head needs less memory for the same losses and gradients."""

import runpy
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from elmer_jax.model import elmer
from elmer_jax.parallel.mesh import make_mesh

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "head_memory.py"


@pytest.fixture(scope="module")
def script() -> dict:
  return runpy.run_path(str(SCRIPT))


def gradients(loss):
  config = tiny.model_config(model__head_chunk=40)
  params, batch = elmer.initialise(config, 0), tiny.batch()
  keys_B = jax.random.split(jax.random.key(0), len(batch["target_ids"]))

  def summed(params):
    sums = loss(elmer.bind(config, params), batch, keys_B, 0, False)
    return sums.loss, sums

  return jax.jit(jax.grad(summed, has_aux=True))(params)


@pytest.fixture(scope="module")
def chunked(script) -> tuple:
  return gradients(script["LOSSES"]["chunked"])


@pytest.mark.parametrize(
  "name", [pytest.param("one_layer", marks=pytest.mark.slow), "all_layers"]
)
def test_losses_and_gradients_equal_those_of_full_logits(script, chunked, name):
  grads, sums = chunked
  full_grads, full_sums = gradients(script["LOSSES"][name])
  np.testing.assert_allclose(sums.loss, full_sums.loss, rtol=1e-6)
  assert sums.tokens == full_sums.tokens
  jax.tree.map(
    lambda ours, theirs: np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=1e-4),
    grads,
    full_grads,
  )


@pytest.mark.slow
def test_a_step_needs_less_memory(script):
  """With a vocabulary that outweighs the model, as at full size."""
  config = tiny.configure(model__head_chunk=512, model__remat="layer")
  config.data.vocabulary_size = 8192
  mesh = make_mesh(config, jax.devices()[:1])
  temporaries = {
    name: script["temporary_bytes"](config, mesh, loss)
    for name, loss in script["LOSSES"].items()
  }
  assert temporaries["chunked"] <= temporaries["all_layers"] / 3
  assert temporaries["chunked"] <= temporaries["one_layer"] * 0.6
