# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""States and logits after every layer are those of the published code."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_text
from golden_cases import CASES, TOLERANCE, arrays, config, params

from elmer_jax.core.errors import UserError
from elmer_jax.generation.api import Model
from elmer_jax.model import elmer
from elmer_jax.objectives import lplm


def close(ours, theirs):
  np.testing.assert_allclose(ours, theirs, atol=TOLERANCE, rtol=0)


@functools.cache
def model(case: str, objective: str) -> Model:
  """A golden case as a model of the public API; its vocabulary is not used."""
  soft_exit = objective == "soft_exit"
  return Model(
    config(case, soft_exit),
    params(case, soft_exit),
    tiny_text.vocabulary(),
    objective,
    *(30, 30),
  )


def asked(case: str, **changes) -> dict:
  inputs = arrays(case, "inputs")
  return {
    "source_ids_BxS": inputs["input_ids"].astype(np.int32),
    "target_length": inputs["labels"].shape[1],
  } | changes


@pytest.mark.parametrize("variant", ["random", "early", "last", "first"])
@pytest.mark.parametrize("case", CASES)
def test_states_of_every_layer_are_the_published_ones(case, variant):
  """As far as the published code goes: it stops once every token has exited."""
  golden = arrays(case, "pretrain")
  inputs = arrays(case, "inputs")
  exits = jnp.asarray(inputs[f"exit_layers_{variant}"], jnp.int32)
  ours = elmer.bind(config(case), params(case))
  encoded, mask = ours.encode(jnp.asarray(inputs["input_ids"], jnp.int32))
  close(encoded, golden[f"{variant}/encoder_last_hidden_state"])
  copy = lplm.copy_exited(exits)

  def keep(index, raw, carry):
    hidden, carry, _ = copy(index, raw, carry)
    return hidden, carry, (raw, hidden)

  start = jnp.zeros((*exits.shape, config(case).d_model))
  ids = ours.blank_target(*exits.shape)
  _, exit_states, (raw, handed_on) = ours.decode(
    ids, encoded, mask, after_layer=keep, carry=start
  )
  close(exit_states, golden[f"{variant}/exit_hidden_states"])
  last = int(exits.max())
  for layer in range(last + 1):
    close(raw[layer], golden[f"{variant}/dec_layer_raw_{layer}"])
  for layer in range(last):
    close(handed_on[layer], golden[f"{variant}/dec_hidden_{layer + 1}"])


@pytest.mark.parametrize("variant", ["random", "early", "last", "first"])
@pytest.mark.parametrize("case", CASES)
def test_logits_at_the_exits_are_the_published_ones(case, variant):
  exits = arrays(case, "inputs")[f"exit_layers_{variant}"].astype(np.int32)
  call = asked(case, exit_layers_BxT=exits)
  logits = model(case, "lplm").off_ramp_logits(**call)
  golden = arrays(case, "pretrain")[f"{variant}/logits"]
  own = np.take_along_axis(np.asarray(logits), exits[None, ..., None], 0)[0]
  close(own, golden)
  close(logits[-1], golden)  # above its exit a token's logits stay the same
  found = model(case, "lplm").off_ramp_predictions(**call)
  np.testing.assert_array_equal(found.token_ids[-1], golden.argmax(-1))


@pytest.mark.parametrize("case", CASES)
def test_soft_exit_reads_the_published_off_ramps(case):
  golden, call = arrays(case, "finetune"), asked(case)
  last = config(case).decoder_layers - 1
  logits = np.asarray(model(case, "soft_exit").off_ramp_logits(**call))
  found = model(case, "soft_exit").off_ramp_predictions(**call)
  bias = arrays(case, "params")["final_logits_bias"][0]
  for layer in range(last):
    close(logits[layer], golden[f"eval/inter_logits_{layer}"] + bias)
    np.testing.assert_array_equal(
      found.token_ids[layer], golden[f"eval/inter_argmax_{layer}"]
    )
  close(logits[last], golden["eval/logits"])
  np.testing.assert_array_equal(found.token_ids[last], golden["eval/logits"].argmax(-1))


def test_predictions_say_what_the_logits_say():
  call = asked("case_b", layers=(0, 3, -1))
  logits = model("case_b", "lplm").off_ramp_logits(**call)
  found = model("case_b", "lplm").off_ramp_predictions(**call)
  log_probability = jax.nn.log_softmax(logits)
  assert logits.shape[0] == 3
  np.testing.assert_array_equal(found.token_ids, logits.argmax(-1))
  close(found.probability, jnp.exp(log_probability.max(-1)))
  close(found.entropy, -(jnp.exp(log_probability) * log_probability).sum(-1))


def test_chosen_layers_are_those_of_all():
  every = model("case_a", "soft_exit").off_ramp_logits(**asked("case_a"))
  some = model("case_a", "soft_exit").off_ramp_logits(**asked("case_a", layers=[2, 0]))
  # Two programs: logits near 20, where float32 resolves 2e-6, of sums in another order.
  np.testing.assert_allclose(some, every[jnp.array([2, 0])], atol=2e-5)


def test_masked_positions_are_not_attended_to():
  call = asked("case_a")
  shape = (len(call["source_ids_BxS"]), call["target_length"])
  seen = np.ones(shape, bool)
  ours = model("case_a", "lplm")
  same = ours.off_ramp_logits(**call, target_mask_BxT=seen)
  close(same, ours.off_ramp_logits(**call))
  seen[:, -3:] = False
  cut = ours.off_ramp_logits(**call, target_mask_BxT=seen)
  shorter = ours.off_ramp_logits(**call | {"target_length": shape[1] - 3})
  close(cut[:, :, :-3], shorter)
  source = call["source_ids_BxS"].copy()
  source_seen = source != 1
  source_seen[:, 5] = False
  hidden = ours.off_ramp_logits(**call, source_mask_BxS=source_seen)
  source[:, 5] = 7
  call["source_ids_BxS"] = source
  close(hidden, ours.off_ramp_logits(**call, source_mask_BxS=source_seen))


def test_models_without_off_ramps_and_long_targets_are_refused():
  with pytest.raises(UserError, match="no off-ramps"):
    model("case_a", "autoregressive").off_ramp_logits(**asked("case_a"))
  with pytest.raises(UserError, match="target_length 100 must be between 1 and"):
    model("case_a", "lplm").off_ramp_logits(**asked("case_a", target_length=100))
