# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The causal decoder, its loss and its searches are Hugging Face BART's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_cases import CASES, TOLERANCE, arrays, config, gradients, params

from elmer_jax.core.errors import UserError
from elmer_jax.decoding import autoregressive, decoding_model, incremental
from elmer_jax.decoding.cpu.cpu_model import CPUModel
from elmer_jax.decoding.incremental import Search
from elmer_jax.decoding.layerwise_model import LayerwiseModel
from elmer_jax.model import elmer
from elmer_jax.objectives import autoregressive as objective
from elmer_jax.objectives.linear_cross_entropy import full_logits

SEARCHES = {
  "greedy": Search(forced_bos=False, forced_eos=False),
  "greedy_forced_eos": Search(forced_bos=False),
  "beam4": Search(beams=4, forced_bos=False, forced_eos=False),
  "beam4_early": Search(
    beams=4, early_stopping=True, forced_bos=False, forced_eos=False
  ),
  "beam4_bartlike": Search(beams=4, early_stopping=True, no_repeat_ngram=3),
}


def close(ours, theirs):
  np.testing.assert_allclose(ours, theirs, atol=TOLERANCE, rtol=0)


def batch(case: str) -> dict:
  inputs = arrays(case, "inputs")
  return {
    "source_ids": jnp.asarray(inputs["input_ids"], jnp.int32),
    "target_ids": jnp.asarray(inputs["labels"], jnp.int32),
  }


@pytest.mark.parametrize("case", CASES)
def test_states_of_every_layer_and_logits_are_barts(case):
  golden = arrays(case, "hf_bart")
  model = elmer.bind(config(case), params(case))
  encoded, mask = model.encode(batch(case)["source_ids"])
  close(encoded, golden["encoder_last_hidden_state"])
  ids = jnp.asarray(arrays(case, "inputs")["ar_decoder_input_ids"], jnp.int32)
  hidden, _, states = model.decode(
    ids,
    encoded,
    mask,
    after_layer=lambda index, hidden, carry: (hidden, carry, hidden),
    causal=True,
  )
  for layer, state in enumerate(states):
    close(state, golden[f"dec_hidden_{layer + 1}"])
  logits = full_logits(hidden, model.head())
  close(logits[..., : config(case).vocabulary_size], golden["logits"])


@pytest.mark.parametrize(
  "case", [CASES[0], pytest.param(CASES[1], marks=pytest.mark.slow)]
)
def test_loss_and_gradients_are_barts(case):
  keys = jax.random.split(jax.random.key(0), len(batch(case)["source_ids"]))

  @jax.jit
  def mean_loss(weights):
    model = elmer.bind(config(case), weights)
    sums = objective.loss(model, batch(case), keys, 0, train=False)
    return sums.loss / sums.tokens

  value, ours = jax.value_and_grad(mean_loss)(params(case))
  close(value, arrays(case, "hf_bart")["loss"])
  names = arrays(case, "hf_bart_grads")
  run = next(iter(names)).split("/")[0] if "/" in next(iter(names)) else ""
  jax.tree.map(close, ours, gradients(case, "hf_bart_grads", run))


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("case", CASES)
def test_searches_return_what_barts_return(case, name):
  golden = arrays(case, "hf_bart")
  expected = golden[f"{name}/sequences"]
  found = autoregressive.decode(
    config(case),
    decoding_model.prepare(config(case), params(case)),
    batch(case)["source_ids"],
    length=8 if name == "greedy_forced_eos" else 20,
    search=SEARCHES[name],
  )
  rows = len(batch(case)["source_ids"])
  returned = len(expected) // rows
  ids = np.asarray(found.ids)[:, :returned].reshape(len(expected), -1)
  width = expected.shape[1] - 1
  np.testing.assert_array_equal(ids[:, :width], expected[:, 1:])
  assert (ids[:, width:] == 1).all()
  if f"{name}/sequences_scores" in golden:
    scores = np.asarray(found.scores)[:, :returned].ravel()
    close(scores, golden[f"{name}/sequences_scores"])


@pytest.mark.parametrize("beams", [1, 2])
def test_all_platforms_return_the_same(beams, monkeypatch):
  found = []
  for model_class in (LayerwiseModel, CPUModel):
    monkeypatch.setattr(decoding_model, "choose_class", lambda _, c=model_class: c)
    prepared = decoding_model.prepare(config("case_a"), params("case_a"))
    source_ids = batch("case_a")["source_ids"]
    search = Search(beams=beams)
    found.append(
      autoregressive.decode(
        config("case_a"), prepared, source_ids, length=6, search=search
      )
    )
  np.testing.assert_array_equal(found[0].ids, found[1].ids)
  close(found[0].scores, found[1].scores)


def test_a_token_does_not_attend_to_later_ones():
  case = "case_a"
  model = elmer.bind(config(case), params(case))
  encoded, mask = model.encode(batch(case)["source_ids"])
  ids = jnp.asarray(arrays(case, "inputs")["ar_decoder_input_ids"], jnp.int32)

  def states(ids):
    return model.decode(ids, encoded, mask, causal=True)[0]

  changed = states(ids.at[:, 5].set(7)) - states(ids)
  assert not np.asarray(changed[:, :5]).any()
  assert np.abs(changed[:, 5:]).max(-1).min() > 0


def test_no_ngram_is_repeated():
  ids = jnp.array([[2, 5, 6, 7, 5, 6, 1, 1], [2, 5, 6, 7, 8, 9, 1, 1]], jnp.int32)
  scores = jnp.zeros((2, 10))
  found = incremental.constrain(
    scores, ids, 5, 7, Search(no_repeat_ngram=3, forced_bos=False)
  )
  assert np.asarray(found[0] == -np.inf).nonzero()[0].tolist() == [7]
  assert not np.isinf(found[1]).any()
  few = Search(no_repeat_ngram=3, forced_bos=False)
  assert not np.isinf(incremental.constrain(scores, ids, 0, 7, few)).any()
  once = Search(no_repeat_ngram=1, forced_bos=False)
  excluded = incremental.constrain(scores, ids, 5, 7, once)[0] == -np.inf
  assert np.asarray(excluded).nonzero()[0].tolist() == [2, 5, 6, 7]


def test_bad_settings_are_refused():
  with pytest.raises(UserError, match="beams must be from 1"):
    Search(beams=0)
  with pytest.raises(UserError, match="no_repeat_ngram"):
    Search(no_repeat_ngram=-1)
