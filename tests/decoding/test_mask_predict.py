# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Mask-predict: the first pass is one-pass decoding; later ones change few tokens."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import tiny_run
import tiny_text

import elmer_jax
from elmer_jax import MaskPredict, NoExit
from elmer_jax.core.errors import UserError
from elmer_jax.decoding import mask_predict
from elmer_jax.tokenizer.special_ids import EOS_ID

LENGTH = 12


@pytest.fixture(scope="module")
def model(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run")
  config = tiny.configure(objective__name="masked_diffusion")
  tiny_run.write(config, workdir, tiny_text.vocabulary())
  loaded = elmer_jax.load(str(workdir))
  params = loaded.params | {"tokens": 20 * loaded.params["tokens"]}
  return dataclasses.replace(loaded, params=params)


def decode(model, strategy):
  source_ids = tiny.batch()["source_ids"]
  return strategy.resolve(model).decode(model, source_ids, LENGTH, details=True)


def test_one_pass_is_decoding_without_exits(model):
  found, expected = decode(model, MaskPredict(1)), decode(model, NoExit())
  np.testing.assert_array_equal(found.ids, expected.ids)
  np.testing.assert_allclose(found.log_probability, expected.log_probability, atol=1e-4)


def test_a_second_pass_predicts_the_less_likely_half_again(model):
  first, second = decode(model, MaskPredict(1)), decode(model, MaskPredict(2))
  before, after = np.asarray(first.ids), np.asarray(second.ids)
  assert (before != after).any()
  for row in range(len(before)):
    ends = np.flatnonzero(before[row] == EOS_ID)
    length = int(ends[0]) + 1 if ends.size else LENGTH
    order = np.argsort(np.asarray(first.log_probability)[row, :length], kind="stable")
    kept = order[length // 2 :]
    np.testing.assert_array_equal(before[row, kept], after[row, kept])


def test_masks_are_the_least_likely_tokens_of_the_text():
  ids = jnp.array([[7, 8, 9, EOS_ID, 5, 5], [7, 8, 9, 4, 5, 6]])
  is_text = mask_predict.up_to_eos(ids)
  np.testing.assert_array_equal(is_text.sum(-1), [4, 6])
  scores = -jnp.array([[1.0, 3.0, 2.0, 4.0, 9.0, 9.0], [1.0, 3.0, 2.0, 4.0, 9.0, 8.0]])
  found = mask_predict.least_likely(scores, is_text, jnp.array([2, 3]))
  np.testing.assert_array_equal(found, [[0, 1, 0, 1, 0, 0], [0, 0, 0, 1, 1, 1]])


def test_passes_out_of_range_are_refused(model):
  with pytest.raises(UserError, match="passes=0 must be between 1 and 1000"):
    MaskPredict(0).resolve(model)
