# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Soft exit from a shortlist: which tokens it has, and what it leaves alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from elmer_jax.decoding import one_pass, screen, shortlist
from elmer_jax.errors import UserError
from elmer_jax.model import elmer

LENGTH = 12
CONFIG = tiny.model_config(objective__name="soft_exit", model__init_stddev=0.3)
SOURCE_IDS = tiny.batch(rows=12)["source_ids"]


@pytest.fixture(scope="module")
def params() -> dict:
  params = elmer.initialise(CONFIG, 1)
  kernel = params["soft_exit"]["kernel"]  # as after training: a guess has weight
  noise = jax.random.normal(jax.random.key(2), kernel.shape) * 0.3
  params["soft_exit"]["kernel"] = kernel + noise
  bias = jax.random.normal(jax.random.key(3), params["logits_bias"].shape)
  return params | {"logits_bias": bias}


def decode(params: dict, size: int, source_ids=SOURCE_IDS) -> np.ndarray:
  """Returns the predictions of every layer [L, B, T]."""
  prepared = one_pass.prepare(CONFIG, params)
  found = one_pass.decode(
    CONFIG,
    **prepared._asdict(),
    source_ids_BxS=source_ids,
    length=LENGTH,
    exit="soft",
    shortlist=size,
    details=True,
  )
  return np.asarray(found.by_layer)


@pytest.mark.parametrize("is_rough", [False, True])
def test_a_list_of_all_tokens_changes_nothing(params, is_rough, monkeypatch):
  monkeypatch.setattr(screen, "pays", lambda: is_rough)
  every = decode(params, 0)
  np.testing.assert_array_equal(decode(params, CONFIG.vocabulary_size), every)


def test_a_text_is_guessed_from_its_own_few_tokens(params):
  size = LENGTH
  free, listed = decode(params, 0), decode(params, size)
  # Behind the first layer each position's best token is on the list.
  np.testing.assert_array_equal(listed[0], free[0])
  below = listed[:-1].swapaxes(0, 1).reshape(len(SOURCE_IDS), -1)
  assert max(len(set(text)) for text in below.tolist()) <= size
  # The list has an effect, and the last layer is not bound by it.
  assert (listed != free).any()
  assert any(
    set(last) - set(text) for last, text in zip(listed[-1], below, strict=True)
  )
  # Nobody else has a say in it.
  alone = decode(params, size, SOURCE_IDS[3:4])
  np.testing.assert_array_equal(alone[:, 0], listed[:, 3])


def test_listed_are_those_nearest_to_being_a_position_s_best(params):
  model = elmer.bind(CONFIG, params)
  hidden = jax.random.normal(jax.random.key(0), (2, LENGTH, CONFIG.d_model))
  drawn = shortlist.draw_up(model, hidden, 20, None)
  table = np.asarray(params["tokens"])[: CONFIG.vocabulary_size]
  scores = np.asarray(hidden) @ table.T  # soft exit chooses without the bias
  lag = (scores.max(-1, keepdims=True) - scores).min(1)
  expected = np.sort(np.argsort(lag, axis=-1)[:, :20], axis=-1)
  np.testing.assert_array_equal(drawn.ids_BxK, expected)
  np.testing.assert_array_equal(drawn.predict(model, hidden), scores.argmax(-1))
  np.testing.assert_array_equal(drawn.bias_BxK, jnp.zeros((2, 20)))


@pytest.mark.parametrize(
  ("size", "exit", "words"),
  [(5, "none", "is for --exit=soft"), (91, "soft", "between 1 and the 90 tokens")],
)
def test_a_list_that_makes_no_sense_is_refused(size, exit, words):
  with pytest.raises(UserError, match=words):
    one_pass.check_shortlist(size, exit, 90)
