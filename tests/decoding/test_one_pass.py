# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""One-pass decoding gives the predictions of the plain model."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from elmer_jax.decoding import decoding_model, one_pass
from elmer_jax.decoding.cpu.cpu_model import CPUModel, RoundedTableModel
from elmer_jax.decoding.decoded import Decoded
from elmer_jax.decoding.layerwise_model import LayerwiseModel
from elmer_jax.model import elmer
from elmer_jax.objectives import objective, soft_exit

LENGTH = 12


def plain(config, params, source_ids, exit: str, length: int):
  """Returns every layer's ids from the plain model and the head of training."""
  model = elmer.bind(config, params)
  encoded, mask = model.encode(source_ids)
  unknown = jnp.zeros((len(source_ids), length), jnp.int32)

  def read(index, hidden, carry):
    if exit == "none":
      return hidden, carry, objective.read_off_ramp(model, hidden, unknown).prediction
    ids = soft_exit.read_off_ramp(model, index, hidden, unknown).prediction
    return soft_exit.project(model, hidden, ids), carry, ids

  blank = model.blank_target(*unknown.shape)
  return model.decode(blank, encoded, mask, after_layer=read)[2]


@pytest.mark.parametrize(
  ("exit", "norm", "length", "model_class"),
  [
    ("none", "pre", LENGTH, RoundedTableModel),
    ("soft", "post", LENGTH, RoundedTableModel),
    ("soft", "post", 4, CPUModel),
    ("soft", "pre", LENGTH, LayerwiseModel),
  ],
)
def test_ids_are_those_of_the_plain_model(exit, norm, length, model_class, monkeypatch):
  monkeypatch.setattr(decoding_model, "choose_class", lambda config: model_class)
  config = tiny.model_config(
    objective__name="soft_exit" if exit == "soft" else "last_layer",
    model__norm=norm,
    model__init_stddev=0.3,
  )
  params = elmer.initialise(config, 1)
  if exit == "soft":  # as after training: predictions have weight
    kernel = params["soft_exit"]["kernel"]
    noise = jax.random.normal(jax.random.key(2), kernel.shape) * 0.3
    params["soft_exit"]["kernel"] = kernel + noise
  source_ids = tiny.batch(rows=24)["source_ids"]

  prepared = decoding_model.prepare(config, params)

  def decode(details: bool) -> Decoded:
    program = {
      "none": one_pass.decode_without_exit,
      "soft": one_pass.decode_with_soft_exit,
    }[exit]
    return program(config, prepared, source_ids, length=length, details=details)

  found = decode(details=True)
  assert len(np.unique(found.by_layer)) > 20
  program = jax.jit(plain, static_argnums=(0, 3, 4))
  expected = program(config, params, source_ids, exit, length)
  np.testing.assert_array_equal(found.by_layer, expected)
  np.testing.assert_array_equal(found.ids, expected[-1])
  np.testing.assert_array_equal(decode(details=False).ids, expected[-1])


@pytest.mark.parametrize("length", [LENGTH, 4])
def test_bfloat16_predicts_tokens_that_are_likely_in_float32(length):
  config = tiny.model_config(objective__name="hard_exit", model__init_stddev=0.3)
  params = elmer.initialise(config, 1)
  source_ids = tiny.batch(rows=24)["source_ids"]
  rounded = dataclasses.replace(config, dtype="bfloat16")
  prepared = decoding_model.prepare(rounded, params)
  found = one_pass.decode_without_exit(
    rounded, prepared, source_ids, length=length, details=True
  )
  exact = jax.jit(score, static_argnums=0)(config, params, source_ids, found.ids)
  assert len(np.unique(found.ids)) > 5
  assert (found.ids == exact.prediction).mean() > 0.95
  np.testing.assert_array_less(exact.log_probability + exact.nll, 0.1)
  np.testing.assert_allclose(found.log_probability, exact.log_probability, atol=0.1)


def test_bfloat16_takes_half_the_memory():
  config = tiny.model_config()
  params = elmer.initialise(config, 0)

  def size(dtype: str) -> int:
    prepared = decoding_model.prepare(dataclasses.replace(config, dtype=dtype), params)
    return sum(leaf.nbytes for leaf in jax.tree.leaves(prepared))

  assert size("bfloat16") < 0.7 * size("float32")


def score(config, params, source_ids, ids):
  """Returns the prediction of float32 at the last layer, and its loss on `ids`."""
  model = elmer.bind(config, params)
  encoded, mask = model.encode(source_ids)
  hidden, _, _ = model.decode(model.blank_target(*ids.shape), encoded, mask)
  return objective.read_off_ramp(model, hidden, ids)
