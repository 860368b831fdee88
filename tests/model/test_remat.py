# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What is computed twice changes the memory and nothing else."""

import jax
import numpy as np
import pytest
import tiny

from elmer_jax import objectives
from elmer_jax.core.errors import UserError
from elmer_jax.model import elmer
from elmer_jax.model.config import REMAT

ROWS = 4


def summed_loss(remat: str, objective: str):
  """Returns the loss as a function of the parameters, dropout included."""
  config = tiny.configure(objective__name=objective)
  sizes = tiny.model_config(objective__name=objective, model__remat=remat)
  batch, keys_B = tiny.batch(ROWS), jax.random.split(jax.random.key(0), ROWS)
  loss = objectives.get(config).loss
  return lambda params: loss(elmer.bind(sizes, params), batch, keys_B, 0, True).loss


def parameters(objective: str) -> dict:
  return elmer.initialise(tiny.model_config(objective__name=objective), 0)


def computed(remat: str) -> tuple[jax.Array, dict]:
  """Returns loss and gradients."""
  params = parameters("lplm")
  lowered = jax.jit(jax.value_and_grad(summed_loss(remat, "lplm"))).lower(params)
  # Compiles in half the time.
  return lowered.compile({"xla_backend_optimization_level": 0})(params)


@pytest.fixture(scope="module")
def reference():
  return computed("none")


@pytest.mark.parametrize("remat", REMAT[1:])
def test_losses_and_gradients_stay(reference, remat):
  loss, grads = computed(remat)
  np.testing.assert_allclose(loss, reference[0], rtol=1e-6)
  for ours, theirs in zip(
    jax.tree.leaves(grads), jax.tree.leaves(reference[1]), strict=True
  ):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("objective", ["lplm", "soft_exit"])
def test_each_name_keeps_less_than_the_one_before(objective):
  params = jax.eval_shape(lambda: parameters(objective))

  def kept(remat: str) -> int:
    """Returns the bytes that go from the forward to the backward pass."""
    forward = summed_loss(remat, objective)
    backward = jax.eval_shape(lambda params: jax.vjp(forward, params)[1], params)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(backward))

  found = [kept(remat) for remat in REMAT]
  assert found == sorted(found, reverse=True) and len(set(found)) == len(found), found


def test_an_unknown_name_is_told_with_the_nearest():
  with pytest.raises(UserError, match="did you mean projections.*it is 'projection'"):
    tiny.model_config(model__remat="projection")
