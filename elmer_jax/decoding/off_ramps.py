# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The logits or predictions after every decoder layer, in one jitted call.

The plain model is run, with what it was trained with between its layers: the soft-exit
projection or nothing. With given exit layers, exited states are copied upward as in
layer permutation language modelling, so a token has the same logits in all layers above
its exit.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from elmer_jax.model import elmer
from elmer_jax.model.config import ModelConfig
from elmer_jax.model.elmer import Elmer
from elmer_jax.objectives import lplm, objective, soft_exit
from elmer_jax.objectives.linear_cross_entropy import full_logits
from elmer_jax.tokenizer.special_ids import PAD_ID


class Inputs(NamedTuple):
  """Source ids, masks and exit layers."""

  source_ids_BxS: jax.Array  # int32
  source_mask_BxS: jax.Array | None  # bool; None: true but for PAD
  target_mask_BxT: jax.Array | None  # bool; None: all true
  exit_layers_BxT: jax.Array | None  # int32, 0-based; None: no copies


class Predictions(NamedTuple):
  """The most likely token after each layer, [layers, B, T] each."""

  token_ids: jax.Array  # int32
  probability: jax.Array  # float32
  entropy: jax.Array  # float32, of the whole distribution, in nats


_STATIC = ("config", "length", "exit", "layers")


@functools.partial(jax.jit, static_argnames=_STATIC)
def logits(
  config: ModelConfig,
  params: dict,
  inputs: Inputs,
  *,
  length: int,
  exit: str,
  layers: tuple[int, ...],
) -> jax.Array:
  """Returns float32 [layers, B, T, V]."""
  model = elmer.bind(config, params)
  states_LxBxTxD = _states(model, inputs, length, exit)
  logits_LxBxTxV = full_logits(states_LxBxTxD[jnp.array(layers)], model.head())
  return logits_LxBxTxV[..., : config.vocabulary_size]


@functools.partial(jax.jit, static_argnames=_STATIC)
def predictions(
  config: ModelConfig,
  params: dict,
  inputs: Inputs,
  *,
  length: int,
  exit: str,
  layers: tuple[int, ...],
) -> Predictions:
  """Returns predictions; a chunk of the logits exists at a time."""
  model = elmer.bind(config, params)
  states_LxBxTxD = _states(model, inputs, length, exit)
  unknown_BxT = jnp.full(states_LxBxTxD.shape[1:3], PAD_ID, jnp.int32)

  def read(_, layer):
    is_plain = exit != "soft" or inputs.exit_layers_BxT is not None
    choose_with_bias = is_plain | (layer == config.decoder_layers - 1)
    output = objective.read_head(
      model, states_LxBxTxD[layer], unknown_BxT, choose_with_bias
    )
    return None, Predictions(
      output.prediction, jnp.exp(output.log_probability), output.entropy
    )

  return jax.lax.scan(read, None, jnp.array(layers))[1]


def _states(model: Elmer, inputs: Inputs, length: int, exit: str) -> jax.Array:
  """Returns the input of the head after every layer [L, B, T, D]."""
  encoded_BxSxD, mask_BxS = model.encode(
    inputs.source_ids_BxS, mask_BxS=inputs.source_mask_BxS
  )
  shape = (encoded_BxSxD.shape[0], length)
  unknown_BxT = jnp.full(shape, PAD_ID, jnp.int32)

  def after_layer(index, hidden_BxTxD, carry):
    if inputs.exit_layers_BxT is not None:
      copy = lplm.copy_exited(inputs.exit_layers_BxT)
      hidden_BxTxD, carry, _ = copy(index, hidden_BxTxD, carry)
    state_BxTxD = model.decoder.off_ramp(hidden_BxTxD)
    if inputs.exit_layers_BxT is None and exit == "soft":
      output = soft_exit.read_off_ramp(model, index, hidden_BxTxD, unknown_BxT)
      hidden_BxTxD = soft_exit.project(model, hidden_BxTxD, output.prediction)
    return hidden_BxTxD, carry, state_BxTxD

  _, _, states_LxBxTxD = model.decode(
    model.blank_target(*shape),
    encoded_BxSxD,
    mask_BxS,
    inputs.target_mask_BxT,
    after_layer=after_layer,
    carry=jnp.zeros((*shape, model.config.d_model), encoded_BxSxD.dtype),
  )
  return states_LxBxTxD


def chosen(layers: Sequence[int] | None, count: int) -> tuple[int, ...]:
  """Returns 0-based layers, by default all; -1 is the last one.

  Raises:
    IndexError: there is no such layer.
  """
  return (
    tuple(range(count)) if layers is None else tuple(range(count)[i] for i in layers)
  )
