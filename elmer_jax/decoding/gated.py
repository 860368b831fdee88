# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""One pass that ends as soon as the text is settled: a gate behind every layer.

The gate reads a state by two vectors, which costs next to nothing beside the head
(V rows) or a layer: one tells how likely the arg-max here is the last layer's, one
whether the position lies behind the text. A text may stop when the mean of the first,
over the positions that the second leaves, reaches a threshold. The head then runs once.

So texts stop as wholes. A text that has stopped stands still while others of its batch
go on, and its result is the one that it has alone; what is saved is what all of them
don't need.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from elmer_jax.model import elmer
from elmer_jax.model.config import ModelConfig
from elmer_jax.model.elmer import Elmer
from elmer_jax.model.stack import pick
from elmer_jax.objectives import objective
from elmer_jax.special_ids import PAD_ID

_STEEPEST = 30.0  # logits beyond this are cut, so that no share is 0 or an overflow


class Gate(NamedTuple):
  """The vectors of every layer but the last; [..., 0] settled, [..., 1] behind."""

  weights_LxDx2: jax.Array  # float32
  bias_Lx2: jax.Array  # float32


class Verdict(NamedTuple):
  """What the gate makes of each text behind one layer."""

  settled_B: jax.Array  # float32, the expected share of tokens that stay as they are
  length_B: jax.Array  # int32, positions of the text, its EOS included


class Gated(NamedTuple):
  """What one pass says, and how far it went."""

  ids: jax.Array  # [B, T] int32
  log_probability: jax.Array  # [B, T] float32, of those, in nats
  layers: jax.Array  # [B] int32, how many layers each text ran through
  ran: jax.Array  # [] int32, how many layers ran: the most of any text


def judge(logits_BxTx2: jax.Array) -> Verdict:
  """Sums up a layer's gate logits; what stands behind the text has no say."""
  length = logits_BxTx2.shape[1]
  logits_BxTx2 = jnp.clip(logits_BxTx2, -_STEEPEST, _STEEPEST)
  behind_BxT = logits_BxTx2[..., 1] > 0
  length_B = jnp.where(behind_BxT.any(-1), behind_BxT.argmax(-1), length)
  length_B = jnp.maximum(length_B, 1)
  text_BxT = jnp.arange(length)[None] < length_B[:, None]
  sure_BxT = jax.nn.sigmoid(logits_BxTx2[..., 0]) * text_BxT
  return Verdict(sure_BxT.sum(-1) / length_B, length_B.astype(jnp.int32))


def opens(verdict: Verdict, threshold: jax.Array) -> jax.Array:
  """Tells [B] which texts may stop: at threshold 0 all, at threshold 1 none."""
  return verdict.settled_B > threshold


@functools.partial(jax.jit, static_argnames=("config", "length"))
def decode(
  config: ModelConfig,
  params: dict,
  gate: Gate,
  threshold: jax.Array,
  source_ids_BxS: jax.Array,
  *,
  length: int,
) -> Gated:
  """Predicts `length` positions for each source, in as few layers as the gate allows.

  Args:
    config: the model's sizes.
    params: its parameters.
    gate: of this model.
    threshold: [] float32, the share of settled tokens that lets a text stop.
    source_ids_BxS: int32 ids with BOS and EOS, padded with PAD.
    length: target positions T.
  """
  model = elmer.bind(config, params)
  encoded_BxSxD, mask_BxS = model.encode(source_ids_BxS)
  shape = (len(source_ids_BxS), length)
  hidden_BxTxD = model.decoder.embedding(
    model.tokens[...], model.blank_target(*shape), None
  )

  def deeper(state):
    ran, hidden_BxTxD, stopped_B, layers_B = state
    layer = pick(model.decoder.layers, ran)
    above_BxTxD = layer(hidden_BxTxD, encoded_BxSxD, mask_BxS, None, None)
    hidden_BxTxD = jnp.where(stopped_B[:, None, None], hidden_BxTxD, above_BxTxD)
    layers_B = jnp.where(stopped_B, layers_B, ran + 1)
    # Behind the last layer this reads the gate before it; nobody asks any more.
    verdict = judge(_read(model, gate, ran, hidden_BxTxD))
    return ran + 1, hidden_BxTxD, stopped_B | opens(verdict, threshold), layers_B

  ran, hidden_BxTxD, _, layers_B = jax.lax.while_loop(
    lambda state: (state[0] < config.decoder_layers) & ~state[2].all(),
    deeper,
    (
      jnp.int32(0),
      hidden_BxTxD,
      jnp.zeros(shape[0], bool),
      jnp.zeros(shape[0], jnp.int32),
    ),
  )
  unknown_BxT = jnp.full(shape, PAD_ID, jnp.int32)
  output = objective.read_off_ramp(model, hidden_BxTxD, unknown_BxT)
  return Gated(output.prediction, output.log_probability, layers_B, ran)


@functools.partial(jax.jit, static_argnames=("config", "length"))
def observe(
  config: ModelConfig, params: dict, source_ids_BxS: jax.Array, *, length: int
) -> tuple[jax.Array, jax.Array]:
  """Returns what a gate is fitted to and calibrated on, with no gate at work.

  Returns:
    Every layer's states as head and gate read them [L, B, T, D], and the arg-max
    there [L, B, T].
  """
  model = elmer.bind(config, params)
  encoded_BxSxD, mask_BxS = model.encode(source_ids_BxS)
  shape = (len(source_ids_BxS), length)
  unknown_BxT = jnp.full(shape, PAD_ID, jnp.int32)

  def note(index, hidden_BxTxD, carry):
    del index
    states_BxTxD = model.decoder.off_ramp(hidden_BxTxD)
    output = objective.read_head(model, states_BxTxD, unknown_BxT)
    return hidden_BxTxD, carry, (states_BxTxD, output.prediction)

  _, _, seen = model.decode(
    model.blank_target(*shape), encoded_BxSxD, mask_BxS, after_layer=note
  )
  return seen


def verdicts(gate: Gate, states_LxBxTxD: jax.Array) -> Verdict:
  """Returns the verdict behind each layer but the last, [L - 1, B] each."""
  logits_LxBxTx2 = jnp.einsum(
    "lbtd,ldk->lbtk", states_LxBxTxD[:-1], gate.weights_LxDx2
  )
  return jax.vmap(judge)(logits_LxBxTx2 + gate.bias_Lx2[:, None, None])


def _read(
  model: Elmer, gate: Gate, layer: jax.Array, hidden_BxTxD: jax.Array
) -> jax.Array:
  """Returns the gate's logits [B, T, 2] behind a layer."""
  states_BxTxD = model.decoder.off_ramp(hidden_BxTxD)
  return states_BxTxD @ gate.weights_LxDx2[layer] + gate.bias_Lx2[layer]
