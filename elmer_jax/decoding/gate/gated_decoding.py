# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""One pass that ends early: a gate after every layer lets whole texts stop.

The gate multiplies each state with two vectors, which costs next to nothing compared
with the head (V rows) or a layer. One gives the probability that the arg-max after this
layer is that of the last layer, the other whether the position comes after the end of
the text. A text may stop when the mean of the first, over the positions of the text,
exceeds a threshold. The head is applied once, at the end.

The states of a text that has stopped stay the same while others of its batch go on, so
its result does not depend on its batch. Only layers that no text needs are saved.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from elmer_jax.core.errors import UserError
from elmer_jax.decoding import decoding_model
from elmer_jax.decoding.decoding_model import DecodingParams
from elmer_jax.decoding.layerwise_model import LayerwiseModel
from elmer_jax.model.config import ModelConfig
from elmer_jax.tokenizer.special_ids import PAD_ID

# Objectives whose layers are followed by an off-ramp that does not change the states.
_OBJECTIVES = ("lplm", "hard_exit", "last_layer")
_SIZES = 4  # lengths that texts are trimmed to: T / 4, T / 2, …
MARGIN = 2  # positions kept beyond the predicted end of a text
_MAX_LOGIT = 30.0  # logits are clipped to it, so that no probability is 0 or overflows


class Gate(NamedTuple):
  """The vectors after every layer but the last; [..., 0] stable, [..., 1] after end."""

  weights_LxDx2: jax.Array  # float32
  bias_Lx2: jax.Array  # float32
  # Float32, the logit of "after the end" above which a position may be dropped: so high
  # that hardly any text is cut short.
  trim_logit_L: jax.Array


class GateOutput(NamedTuple):
  """The gate's output for each text after one layer."""

  stable_B: jax.Array  # float32, the expected fraction of tokens that don't change
  length_B: jax.Array  # int32, positions of the text by `trim_logit_L`, EOS included


class Gated(NamedTuple):
  """The result of one pass, and how many layers were run."""

  ids: jax.Array  # [B, T] int32
  # [B, T] float32, of those, in nats; without details None
  log_probability: jax.Array | None
  layers: jax.Array  # [B] int32, the number of layers of each text
  ran: jax.Array  # [] int32, the number of layers run: the largest of `layers`


def check(objective: str, config: ModelConfig) -> None:
  """Raises `UserError` for a model that can't have a gate."""
  if objective not in _OBJECTIVES:
    raise UserError(
      f"a gate is for models trained with {', '.join(_OBJECTIVES)}; this one was "
      f"trained with {objective}"
    )
  if config.decoder_layers < 2:
    raise UserError("a gate needs at least two decoder layers")


def check_threshold(threshold: float) -> None:
  """Raises `UserError` unless it is between 0 and 1."""
  if not 0 <= threshold <= 1:
    raise UserError(f"--threshold must be between 0 and 1; it is {threshold:g}")


def score_gate(
  logits_BxTx2: jax.Array,
  trim_logit: jax.Array | float = 0.0,
  mask_BxT: jax.Array | None = None,
) -> GateOutput:
  """Reduces the gate's logits after a layer to one output per text.

  Positions after the end of the text don't count.

  Args:
    logits_BxTx2: stable, after the end.
    trim_logit: float32, of the layer: [], or [B, 1] where texts stopped at several.
    mask_BxT: bool, false where positions were dropped; None: nowhere.
  """

  def length_B(limit: jax.Array | float) -> jax.Array:
    is_after_BxT = logits_BxTx2[..., 1] > limit
    if mask_BxT is not None:
      is_after_BxT |= ~mask_BxT
    first_B = jnp.where(is_after_BxT.any(-1), is_after_BxT.argmax(-1), length)
    return jnp.maximum(first_B, 1).astype(jnp.int32)

  length = logits_BxTx2.shape[1]
  logits_BxTx2 = jnp.clip(logits_BxTx2, -_MAX_LOGIT, _MAX_LOGIT)
  likely_B = length_B(0.0)
  text_BxT = jnp.arange(length)[None] < likely_B[:, None]
  stable_BxT = jax.nn.sigmoid(logits_BxTx2[..., 0]) * text_BxT
  return GateOutput(stable_BxT.sum(-1) / likely_B, length_B(trim_logit))


def cut(gate: Gate, layers: int) -> Gate:
  """Returns the gate of the model's lowest `layers` (see `depth.cut`), at least two."""
  return Gate(*(part[: layers - 1] for part in gate))


def layers_of(gate: Gate) -> int:
  """Returns the number of decoder layers of the model of a gate."""
  return len(gate.bias_Lx2) + 1


def should_stop(output: GateOutput, threshold: jax.Array) -> jax.Array:
  """Returns [B], whether texts may stop: with threshold 0 all, with 1 none."""
  return output.stable_B > threshold


@functools.partial(jax.jit, static_argnames=("config", "length", "trim", "details"))
def decode(
  config: ModelConfig,
  params: DecodingParams,
  gate: Gate,
  threshold: jax.Array,
  source_ids_BxS: jax.Array,
  *,
  length: int,
  trim: int = 0,
  details: bool = False,
) -> Gated:
  """Predicts `length` positions for each source, in as few layers as the gate allows.

  Args:
    config: the model's sizes.
    params: from `decoding_model.prepare`.
    gate: of this model.
    threshold: [] float32, the fraction of stable tokens above which a text stops.
    source_ids_BxS: int32 ids with BOS and EOS, padded with PAD.
    length: target positions T.
    trim: after this many layers, or where all texts stop before, the positions after
      the predicted end of the text are dropped, down to a multiple of T / 4; their ids
      are PAD. 0: never.
    details: as in `one_pass.decode`.
  """
  model = decoding_model.bind(config, params)
  encoded_BxSxD, mask_BxS = model.encode(source_ids_BxS)
  rows = len(source_ids_BxS)

  def run(end: int, state: _State, mask_BxT: jax.Array | None) -> _State:
    """Runs layers until `end` or until all texts have stopped."""

    def run_layer(state: _State) -> _State:
      hidden_BxTxD = model.run_layer(
        state.ran, state.hidden_BxTxD, encoded_BxSxD, mask_BxS, mask_BxT
      )
      return _update(model, gate, threshold, state, hidden_BxTxD, mask_BxT)

    return jax.lax.while_loop(
      lambda state: (state.ran < end) & ~state.stopped_B.all(), run_layer, state
    )

  def finish(state: _State, kept_B: jax.Array, size: int) -> Gated:
    """Runs the other layers with the first `size` positions, and the head."""
    mask_BxT = jnp.arange(size)[None] < kept_B[:, None] if trim else None
    state = state._replace(hidden_BxTxD=state.hidden_BxTxD[:, :size])
    state = run(config.decoder_layers, state, mask_BxT)
    padding = ((0, 0), (0, length - size))
    log_probability_BxT = None
    if details:
      ids_BxT, log_probability_BxT, _ = model.read_head(state.hidden_BxTxD)
      log_probability_BxT = jnp.pad(log_probability_BxT, padding)
    else:
      ids_BxT = model.predict(state.hidden_BxTxD)
    if trim:
      ids_BxT = jnp.where(mask_BxT, ids_BxT, PAD_ID)
    ids_BxT = jnp.pad(ids_BxT, padding, constant_values=PAD_ID)
    return Gated(ids_BxT, log_probability_BxT, state.layers_B, state.ran)

  state = _start(model, rows, length)
  if not trim:
    return finish(state, jnp.full(rows, length), length)
  state = run(trim, state, None)
  kept_B = kept_length(_lengths(model, gate, state), length)
  return jax.lax.switch(
    jnp.searchsorted(jnp.array(_sizes(length)), kept_B.max()),
    [functools.partial(finish, size=size) for size in _sizes(length)],
    *(state, kept_B),
  )


class _State(NamedTuple):
  """The state between two layers."""

  ran: jax.Array  # [] int32, layers run
  hidden_BxTxD: jax.Array
  stopped_B: jax.Array  # bool
  layers_B: jax.Array  # int32, layers of each text


def _start(model: LayerwiseModel, rows: int, length: int) -> _State:
  return _State(
    jnp.int32(0),
    model.embed_blank_target(rows, length),
    jnp.zeros(rows, bool),
    jnp.zeros(rows, jnp.int32),
  )


def _update(
  model: LayerwiseModel,
  gate: Gate,
  threshold: jax.Array,
  state: _State,
  new_hidden_BxTxD: jax.Array,
  mask_BxT: jax.Array | None,
) -> _State:
  """Takes a layer's output for the texts that have not stopped; applies the gate."""
  stopped_B = state.stopped_B
  hidden_BxTxD = jnp.where(
    stopped_B[:, None, None], state.hidden_BxTxD, new_hidden_BxTxD
  )
  states_BxTxD = model.off_ramp(hidden_BxTxD)
  # After the last layer the index is clipped, and the output is not used.
  logits_BxTx2 = states_BxTxD @ gate.weights_LxDx2[state.ran]
  logits_BxTx2 += gate.bias_Lx2[state.ran][None, None]
  output = score_gate(logits_BxTx2, gate.trim_logit_L[state.ran], mask_BxT)
  return _State(
    state.ran + 1,
    hidden_BxTxD,
    stopped_B | should_stop(output, threshold),
    jnp.where(stopped_B, state.layers_B, state.ran + 1),
  )


def _lengths(model: LayerwiseModel, gate: Gate, state: _State) -> jax.Array:
  """Returns the positions of each text [B] int32, from the gate of its last layer."""
  states_BxTxD = model.off_ramp(state.hidden_BxTxD)
  weights_BxDx2, bias_Bx2, trim_logit_B = (part[state.layers_B - 1] for part in gate)
  logits_BxTx2 = states_BxTxD @ weights_BxDx2 + bias_Bx2[:, None]
  return score_gate(logits_BxTx2, trim_logit_B[:, None]).length_B


def _sizes(length: int) -> list[int]:
  """Returns the lengths that texts are trimmed to; each is compiled separately."""
  return [-(-length * part // _SIZES) for part in range(1, _SIZES + 1)]


def kept_length(length_B: jax.Array, length: int) -> jax.Array:
  """Returns the number of positions [B] int32 that each text keeps, of `length`."""
  sizes = jnp.array(_sizes(length))
  wanted_B = jnp.minimum(length_B + MARGIN, length)
  return sizes[jnp.searchsorted(sizes, wanted_B)]


class Observed(NamedTuple):
  """The states and predictions after every layer where no text stops."""

  states_LxBxTxD: jax.Array  # inputs of head and gate
  ids_LxBxT: jax.Array  # int32, the text if it stops there: PAD where dropped
  mask_LxBxT: jax.Array  # bool, false for positions dropped before this layer


@functools.partial(jax.jit, static_argnames=("config", "length", "trim"))
def observe(
  config: ModelConfig,
  params: DecodingParams,
  source_ids_BxS: jax.Array,
  *,
  length: int,
  gate: Gate | None = None,
  trim: int = 0,
) -> Observed:
  """Returns what a gate is fitted to and calibrated on.

  Args:
    config, params, source_ids_BxS, length, trim: as in `decode`.
    gate: decides which positions are dropped; needed if `trim` is not 0.
  """
  model = decoding_model.bind(config, params)
  encoded_BxSxD, mask_BxS = model.encode(source_ids_BxS)
  shape = (len(source_ids_BxS), length)
  mask_BxT = jnp.ones(shape, bool)
  hidden_BxTxD = model.embed_blank_target(*shape)
  observed = []
  for index, layer in enumerate(model.decoder.layers):
    hidden_BxTxD = layer(hidden_BxTxD, encoded_BxSxD, mask_BxS, mask_BxT, None)
    states_BxTxD = model.off_ramp(hidden_BxTxD)
    ids_BxT = model.predict(hidden_BxTxD)
    kept_BxT = mask_BxT
    if index < trim:
      logits_BxTx2 = states_BxTxD @ gate.weights_LxDx2[index]
      logits_BxTx2 += gate.bias_Lx2[index][None, None]
      length_B = score_gate(logits_BxTx2, gate.trim_logit_L[index]).length_B
      kept_BxT = jnp.arange(length)[None] < kept_length(length_B, length)[:, None]
    if trim:
      ids_BxT = jnp.where(kept_BxT, ids_BxT, PAD_ID)
    observed.append(Observed(states_BxTxD, ids_BxT, mask_BxT))
    if index == trim - 1:
      mask_BxT = kept_BxT
  return jax.tree.map(lambda *each: jnp.stack(each), *observed)


def logits(gate: Gate, states_LxBxTxD: jax.Array) -> jax.Array:
  """Returns the gate's logits after each layer but the last, [L - 1, B, T, 2].

  Args:
    states_LxBxTxD: of those layers, [L - 1, B, T, D].
  """
  logits_LxBxTx2 = jnp.einsum("lbtd,ldk->lbtk", states_LxBxTxD, gate.weights_LxDx2)
  return logits_LxBxTx2 + gate.bias_Lx2[:, None, None]


def score_layers(gate: Gate, observed: Observed) -> GateOutput:
  """Returns the gate's output after each layer but the last, [L - 1, B] each."""
  logits_LxBxTx2 = logits(gate, observed.states_LxBxTxD[:-1])
  return jax.vmap(score_gate)(
    logits_LxBxTx2, gate.trim_logit_L, observed.mask_LxBxT[:-1]
  )
