# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The chunked cross-entropy equals that of full logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elmer_jax.model.elmer import PADDING_LOGIT, Head
from elmer_jax.objectives.linear_cross_entropy import linear_cross_entropy

V, REAL, D = 96, 90, 16


def problem(dtype=jnp.float32):
  rng = np.random.default_rng(0)
  states = jnp.asarray(rng.normal(size=(3, 5, D)), dtype)
  table = jnp.asarray(rng.normal(size=(V, D)), dtype)
  bias = jnp.asarray(rng.normal(size=V), jnp.float32)
  bias = jnp.where(jnp.arange(V) < REAL, bias, PADDING_LOGIT)
  targets = jnp.asarray(rng.integers(0, REAL, (3, 5)), jnp.int32)
  weights = jnp.asarray(rng.normal(size=(3, 5)), jnp.float32)
  return states, Head(table, bias, jnp.zeros(V)), targets, weights


def full(states, head, targets):
  logits = jnp.einsum("btd,vd->btv", states, head.table_VxD) + head.bias_V[None, None]
  log_p = jax.nn.log_softmax(logits)
  nll = -jnp.take_along_axis(log_p, targets[..., None], axis=-1)[..., 0]
  entropy = -(jnp.exp(log_p) * log_p).sum(-1)
  return nll, logits.argmax(-1), log_p.max(-1), entropy


@pytest.mark.parametrize("chunk", [V, 40, 8])
def test_outputs_equal_those_of_full_logits(chunk):
  states, head, targets, _ = problem()
  ours = linear_cross_entropy(states, head, targets, chunk)
  for mine, theirs in zip(ours[:4], full(states, head, targets), strict=True):
    np.testing.assert_allclose(mine, theirs, atol=5e-6, rtol=0)


@pytest.mark.parametrize("chunk", [V, 8])
def test_is_correct_where_the_prediction_is_the_target(chunk):
  states, head, targets, _ = problem()
  targets = targets.at[0].set(full(states, head, targets)[1][0])
  output = linear_cross_entropy(states, head, targets, chunk)
  np.testing.assert_array_equal(output.is_correct, output.prediction == targets)
  assert output.is_correct[0].all() and not output.is_correct.all()


@pytest.mark.parametrize("chunk", [V, 40, 8])
def test_gradients_equal_those_of_full_logits(chunk):
  states, head, targets, weights = problem()
  ours = jax.grad(
    lambda s, h: (linear_cross_entropy(s, h, targets, chunk).nll * weights).sum(),
    (0, 1),
  )(states, head)
  theirs = jax.grad(lambda s, h: (full(s, h, targets)[0] * weights).sum(), (0, 1))(
    states, head
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=5e-6, rtol=0), ours, theirs
  )


@pytest.mark.parametrize("chunk", [V, 8])
def test_smoothed_labels_equal_those_of_full_logits(chunk):
  """The loss against (1 - ε) · one-hot + ε / vocabulary, and its gradients."""
  states, head, targets, weights = problem()
  share = 0.2

  def full_loss(states, head):
    logits = jnp.einsum("btd,vd->btv", states, head.table_VxD) + head.bias_V[None, None]
    wanted = (1 - share) * jax.nn.one_hot(targets, V) + share / REAL
    log_p = jax.nn.log_softmax(logits)[..., :REAL]
    return (-(wanted[..., :REAL] * log_p).sum(-1) * weights).sum()

  def ours(states, head):
    output = linear_cross_entropy(states, head, targets, chunk, share)
    return (output.nll * weights).sum()

  mine = jax.value_and_grad(ours, (0, 1))(states, head)
  theirs = jax.value_and_grad(full_loss, (0, 1))(states, head)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5, rtol=1e-5), mine, theirs
  )
  plain = linear_cross_entropy(states, head, targets, chunk)
  smoothed = linear_cross_entropy(states, head, targets, chunk, share)
  for a, b in zip(plain[1:], smoothed[1:], strict=True):
    np.testing.assert_array_equal(a, b)


def test_ties_go_to_the_lowest_id_for_every_chunk_size():
  head = Head(jnp.ones((V, D)), jnp.zeros(V), jnp.zeros(V))
  targets = jnp.zeros((1, 2), jnp.int32)
  for chunk in (V, 12):
    output = linear_cross_entropy(jnp.ones((1, 2, D)), head, targets, chunk)
    np.testing.assert_array_equal(output.prediction, 0)
    np.testing.assert_allclose(output.entropy, np.log(V), rtol=1e-5)


def test_choice_shift_changes_the_prediction_only():
  states, head, targets, _ = problem()
  unbiased = head._replace(
    choice_shift_V=jnp.where(jnp.arange(V) < REAL, -head.bias_V, 0.0)
  )
  plain = linear_cross_entropy(states, head, targets, 16)
  shifted = linear_cross_entropy(states, unbiased, targets, 16)
  np.testing.assert_allclose(shifted.nll, plain.nll, atol=5e-6, rtol=0)
  logits = jnp.einsum("btd,vd->btv", states, head.table_VxD)[..., :REAL]
  np.testing.assert_array_equal(shifted.prediction, logits.argmax(-1))
  log_p = jax.nn.log_softmax(logits + head.bias_V[None, None, :REAL])
  chosen = jnp.take_along_axis(log_p, shifted.prediction[..., None], -1)[..., 0]
  np.testing.assert_allclose(shifted.log_probability, chosen, atol=5e-6, rtol=0)


def test_padding_rows_are_never_predicted_and_have_no_weight():
  states, head, targets, _ = problem()
  loud = head._replace(table_VxD=head.table_VxD.at[REAL:].set(100.0))
  quiet = linear_cross_entropy(states, head, targets, 16)
  output = linear_cross_entropy(states, loud, targets, 16)
  assert int(output.prediction.max()) < REAL
  np.testing.assert_array_equal(output.nll, quiet.nll)


def test_full_logits_are_never_materialised():
  """The compiled step's temporaries are far smaller than one array of all logits."""
  tokens, rows, width = 512, 8192, 32
  states = jax.ShapeDtypeStruct((tokens, width), jnp.float32)
  head = Head(
    jax.ShapeDtypeStruct((rows, width), jnp.float32),
    jax.ShapeDtypeStruct((rows,), jnp.float32),
    jax.ShapeDtypeStruct((rows,), jnp.float32),
  )
  targets = jax.ShapeDtypeStruct((tokens,), jnp.int32)

  def bytes_of(chunk: int) -> int:
    loss = lambda s, h, t: linear_cross_entropy(s, h, t, chunk).nll.sum()  # noqa: E731
    step = jax.jit(jax.grad(loss, (0, 1))).lower(states, head, targets).compile()
    return step.memory_analysis().temp_size_in_bytes

  full_bytes = tokens * rows * 4
  assert bytes_of(512) < full_bytes / 3 < bytes_of(rows)
