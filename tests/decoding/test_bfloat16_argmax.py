# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The arg-max by way of bfloat16 is exact, or says that it may not be."""

import jax
import jax.numpy as jnp
import numpy as np

from elmer_jax.decoding.cpu import bfloat16_argmax
from elmer_jax.model.elmer import PADDING_LOGIT, Head


def head_of(table: np.ndarray) -> Head:
  bias = np.zeros(len(table), np.float32)
  bias[-5:] = PADDING_LOGIT
  return Head(jnp.asarray(table), jnp.asarray(bias), jnp.zeros(len(table)))


def predict(states: np.ndarray, head: Head):
  """Returns ids, whether they are exact, and all logits in float64."""

  @jax.jit
  def rounded(states_NxD, head):
    table = bfloat16_argmax.RoundedTable(head.table_VxD)
    return bfloat16_argmax.predict(states_NxD, head, table)

  ids, is_exact = rounded(jnp.asarray(states), head)
  logits = states.astype(np.float64) @ np.asarray(head.table_VxD, np.float64).T
  return np.asarray(ids), bool(is_exact), logits + np.asarray(head.bias_V)


def test_ids_are_the_exact_arg_max():
  rng = np.random.default_rng(0)
  table = rng.normal(size=(4096, 64)).astype(np.float32)
  table *= rng.lognormal(0, 0.5, (4096, 1)).astype(np.float32)  # as in trained tables
  states = rng.normal(size=(48, 64)).astype(np.float32)
  ids, is_exact, logits = predict(states, head_of(table))
  assert is_exact
  np.testing.assert_array_equal(ids, logits.argmax(1))


def test_rows_that_are_equal_in_bfloat16_are_compared_in_float32():
  """The best row has near copies that differ in the last bits of float32 only."""
  rng = np.random.default_rng(1)
  table = rng.normal(size=(1024, 64)).astype(np.float32)
  states = rng.normal(size=(32, 64)).astype(np.float32)
  best = (states @ table[:1019].T).argmax(1)
  spare = np.setdiff1d(np.arange(1019), best)[: 2 * len(best)].reshape(2, -1)
  for rows, sign in zip(spare, (-1, 1), strict=True):
    table[rows] = table[best] + sign * 1e-4 * states
  ids, is_exact, logits = predict(states, head_of(table))
  assert is_exact
  np.testing.assert_array_equal(ids, logits.argmax(1))
  assert not set(ids) & set(best)


def test_among_equals_the_lowest_id_wins():
  rng = np.random.default_rng(2)
  table = rng.normal(size=(256, 64)).astype(np.float32)
  table[200] = table[17] * 1
  states = 3 * table[[17, 200]]
  assert predict(states, head_of(table))[0].tolist() == [17, 17]


def test_too_many_candidates_are_reported():
  row = np.random.default_rng(3).normal(size=(1, 64)).astype(np.float32)
  assert not predict(row, head_of(np.repeat(row, 512, 0)))[1]
  assert not predict(row * np.nan, head_of(np.repeat(row, 512, 0)))[1]
