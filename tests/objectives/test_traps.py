# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Four plausible mistakes: each is made on purpose, and golden values detect it.

The golden values hold for the code as it is; with the mistake the error is far above
the tolerance, so the golden tests fail for anyone who makes it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_cases import CASES, TOLERANCE, arrays, config, gradients, params

from elmer_jax.model import elmer
from elmer_jax.objectives import lplm, objective, soft_exit

LARGE = 20 * TOLERANCE


def soft_exit_loss(case: str, run: str, monkeypatch):
  """Returns the published loss of a run as a function of the weights."""
  inputs = arrays(case, "inputs")
  layers = config(case).decoder_layers
  control = inputs["label_mix_control"] if run == "mix30" else float(run == "mix1")
  mixed = np.broadcast_to(control, (layers - 1, *inputs["labels"].shape)) > 0
  mixed = jnp.asarray(np.concatenate([mixed, np.zeros_like(mixed[:1])]))
  monkeypatch.setattr(soft_exit, "draw_mixed", lambda *_: mixed)
  batch = {
    "source_ids": jnp.asarray(inputs["input_ids"], jnp.int32),
    "target_ids": jnp.asarray(inputs["labels"], jnp.int32),
  }
  keys = jax.random.split(jax.random.key(0), len(inputs["labels"]))

  def loss(weights):
    sums = soft_exit.loss(
      elmer.bind(config(case, True), weights),
      batch,
      keys,
      0,
      True,
      mixing=0.3,
      published_mixing=True,
    )
    return sums.loss / sums.tokens

  return jax.jit(loss)


# One case shows that a mistake is detected; the other is slow.
ONE_OF_CASES = [CASES[0], pytest.param(CASES[1], marks=pytest.mark.slow)]


def max_error(ours, theirs) -> float:
  differences = jax.tree.map(lambda a, b: np.abs(a - b).max(), ours, theirs)
  return float(max(jax.tree.leaves(differences)))


@pytest.mark.parametrize(
  ("case", "run"), [("case_a", "mix1"), ("case_a", "mix30"), ("case_b", "mix30")]
)
def test_the_padding_embedding_has_no_gradient(case, run, monkeypatch):
  golden = gradients(case, "finetune_grads", run, soft_exit=True)
  loss = soft_exit_loss(case, run, monkeypatch)
  assert max_error(jax.grad(loss)(params(case, True)), golden) < TOLERANCE

  def plain(tokens, ids, dtype):
    return tokens[ids].astype(dtype)

  monkeypatch.setattr(soft_exit, "look_up", plain)
  loss = soft_exit_loss(case, run, monkeypatch)
  wrong = jax.grad(loss)(params(case, True))
  assert max_error(wrong["tokens"][1], golden["tokens"][1]) > LARGE
  assert max_error(wrong["tokens"][2:], golden["tokens"][2:]) < TOLERANCE


@pytest.mark.parametrize("case", ONE_OF_CASES)
def test_gelu_is_exact(case, monkeypatch):
  source = jnp.asarray(arrays(case, "inputs")["input_ids"], jnp.int32)
  golden = arrays(case, "pretrain")["random/encoder_last_hidden_state"]

  def encoded():
    return elmer.bind(config(case), params(case)).encode(source)[0]

  assert max_error(encoded(), golden) < TOLERANCE
  exact = jax.nn.gelu
  monkeypatch.setattr(jax.nn, "gelu", lambda x, approximate: exact(x, True))
  assert max_error(encoded(), golden) > 2 * TOLERANCE


@pytest.mark.parametrize("case", ONE_OF_CASES)
def test_the_loss_reads_exit_states_not_the_last_layer(case):
  """The published code stops when all tokens have exited, before the last copy."""
  golden, inputs = arrays(case, "pretrain"), arrays(case, "inputs")
  exits = jnp.asarray(inputs["exit_layers_early"], jnp.int32)
  model = elmer.bind(config(case), params(case))
  encoded, mask = model.encode(jnp.asarray(inputs["input_ids"], jnp.int32))
  blank = model.blank_target(*exits.shape)
  states = lplm.decode_with_copies(model, encoded, mask, blank, exits)
  assert max_error(states, golden["early/exit_hidden_states"]) < TOLERANCE
  assert max_error(golden["early/decoder_last_hidden_state"], states) > LARGE


@pytest.mark.parametrize("case", ONE_OF_CASES)
def test_the_bias_affects_losses_but_not_predictions_of_lower_layers(case, monkeypatch):
  golden, labels = arrays(case, "finetune"), arrays(case, "inputs")["labels"]
  weights = params(case, True)
  close = functools.partial(np.testing.assert_allclose, atol=TOLERANCE, rtol=0)
  loss = soft_exit_loss(case, "mix0", monkeypatch)
  close(loss(weights), golden["mix0/loss_train"])

  without = weights | {"logits_bias": jnp.zeros_like(weights["logits_bias"])}
  assert abs(loss(without) - golden["mix0/loss_train"]) > LARGE

  def choose_with_bias(model, index, hidden, targets, smoothing):
    return objective.read_off_ramp(model, hidden, targets, True, smoothing)

  monkeypatch.setattr(soft_exit, "read_off_ramp", choose_with_bias)
  wrong = soft_exit_loss(case, "mix0", monkeypatch)
  assert abs(wrong(weights) - golden["mix0/loss_train"]) > LARGE
  assert labels.shape == golden["eval/inter_argmax_0"].shape
