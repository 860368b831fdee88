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

from elmer_jax.core.errors import UserError
from elmer_jax.decoding import head
from elmer_jax.decoding.cpu import encoder_groups
from elmer_jax.decoding.cpu.bfloat16_argmax import Screen
from elmer_jax.model import elmer
from elmer_jax.model.config import ModelConfig
from elmer_jax.model.elmer import Elmer
from elmer_jax.model.stack import run_one, scan_layers
from elmer_jax.objectives import objective
from elmer_jax.tokenizer.special_ids import PAD_ID

# Objectives with an off-ramp behind every layer that is read without changing it.
_OBJECTIVES = ("lplm", "hard_exit", "last_layer")
_SIZES = 4  # lengths that positions are dropped to: T / 4, T / 2, …
MARGIN = 2  # positions more than the gate takes the text for
_STEEPEST = 30.0  # logits beyond this are cut, so that no share is 0 or an overflow


class Gate(NamedTuple):
  """The vectors of every layer but the last; [..., 0] settled, [..., 1] behind."""

  weights_LxDx2: jax.Array  # float32
  bias_Lx2: jax.Array  # float32
  # Float32, the logit of "behind" above which a position may be dropped: high enough
  # that hardly a text is cut short.
  caution_L: jax.Array


class Verdict(NamedTuple):
  """What the gate makes of each text behind one layer."""

  settled_B: jax.Array  # float32, the expected share of tokens that stay as they are
  length_B: jax.Array  # int32, positions that the text takes, cautiously; EOS included


class Gated(NamedTuple):
  """What one pass says, and how far it went."""

  ids: jax.Array  # [B, T] int32
  # [B, T] float32, of those, in nats, where details were asked for
  log_probability: jax.Array | None
  layers: jax.Array  # [B] int32, how many layers each text ran through
  ran: jax.Array  # [] int32, how many layers ran: the most of any text


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
  """Raises `UserError` unless it is a share."""
  if not 0 <= threshold <= 1:
    raise UserError(f"--threshold lies between 0 and 1; it is {threshold:g}")


def judge(
  logits_BxTx2: jax.Array,
  caution: jax.Array | float = 0.0,
  seen_BxT: jax.Array | None = None,
) -> Verdict:
  """Sums up a layer's gate logits; what stands behind the text has no say.

  Args:
    logits_BxTx2: settled, behind.
    caution: float32, of the layer: [], or [B, 1] where texts stopped at several.
    seen_BxT: bool, false where positions were dropped; None: none were.
  """

  def length_B(behind: jax.Array | float) -> jax.Array:
    behind_BxT = logits_BxTx2[..., 1] > behind
    if seen_BxT is not None:
      behind_BxT |= ~seen_BxT
    first_B = jnp.where(behind_BxT.any(-1), behind_BxT.argmax(-1), length)
    return jnp.maximum(first_B, 1).astype(jnp.int32)

  length = logits_BxTx2.shape[1]
  logits_BxTx2 = jnp.clip(logits_BxTx2, -_STEEPEST, _STEEPEST)
  likely_B = length_B(0.0)
  text_BxT = jnp.arange(length)[None] < likely_B[:, None]
  sure_BxT = jax.nn.sigmoid(logits_BxTx2[..., 0]) * text_BxT
  return Verdict(sure_BxT.sum(-1) / likely_B, length_B(caution))


def cut(gate: Gate, layers: int) -> Gate:
  """Returns the gate of the model's lowest `layers` (`model.depth.cut`), two or more.

  So no text goes beyond them, and what lies above is not even read.
  """
  return Gate(*(part[: layers - 1] for part in gate))


def layers_of(gate: Gate) -> int:
  """Returns how many decoder layers the model of a gate has."""
  return len(gate.bias_Lx2) + 1


def opens(verdict: Verdict, threshold: jax.Array) -> jax.Array:
  """Tells [B] which texts may stop: at threshold 0 all, at threshold 1 none."""
  return verdict.settled_B > threshold


@functools.partial(jax.jit, static_argnames=("config", "length", "trim", "details"))
def decode(
  config: ModelConfig,
  params: dict,
  gate: Gate,
  threshold: jax.Array,
  source_ids_BxS: jax.Array,
  *,
  length: int,
  trim: int = 0,
  details: bool = False,
  guess_by: Screen | None = None,
) -> Gated:
  """Predicts `length` positions for each source, in as few layers as the gate allows.

  Args:
    config: the model's sizes.
    params: its parameters; fastest as `elmer.for_decoding` gives them.
    gate: of this model.
    threshold: [] float32, the share of settled tokens that lets a text stop.
    source_ids_BxS: int32 ids with BOS and EOS, padded with PAD.
    length: target positions T.
    trim: behind so many layers, or where all texts stop before, the positions that the
      gate takes to lie behind the text are dropped, down to a multiple of T / 4; there
      the ids are PAD. 0: none are.
    details, guess_by: as in `one_pass.decode`.
  """
  if elmer.is_stacked(params):
    params = elmer.for_decoding(config, params)
  model = elmer.bind(config, params)
  encoded_BxSxD, mask_BxS = encoder_groups.read(model, source_ids_BxS)
  rows = len(source_ids_BxS)

  def run(until: int, state: _State, seen_BxT: jax.Array | None) -> _State:
    def deeper(state: _State) -> _State:
      inputs = (state.hidden_BxTxD, encoded_BxSxD, mask_BxS, seen_BxT, None)
      above_BxTxD = run_one(model.decoder.layers, state.ran, *inputs)
      return _judged(model, gate, threshold, state, above_BxTxD, seen_BxT)

    return jax.lax.while_loop(
      lambda state: (state.ran < until) & ~state.stopped_B.all(), deeper, state
    )

  def finish(state: _State, room_B: jax.Array, size: int) -> Gated:
    """Runs on with the first `size` positions, of which each row sees its own room."""
    seen_BxT = jnp.arange(size)[None] < room_B[:, None] if trim else None
    state = state._replace(hidden_BxTxD=state.hidden_BxTxD[:, :size])
    state = run(config.decoder_layers, state, seen_BxT)
    rest = ((0, 0), (0, length - size))
    best_BxT = None
    if details:
      said = head.read(model, state.hidden_BxTxD)
      ids_BxT, best_BxT = said.ids, jnp.pad(said.log_probability, rest)
    else:
      ids_BxT = head.predict(model, state.hidden_BxTxD, guess_by=guess_by)
    if trim:
      ids_BxT = jnp.where(seen_BxT, ids_BxT, PAD_ID)
    ids_BxT = jnp.pad(ids_BxT, rest, constant_values=PAD_ID)
    return Gated(ids_BxT, best_BxT, state.layers_B, state.ran)

  state = _start(model, rows, length)
  if not trim:
    return finish(state, jnp.full(rows, length), length)
  state = run(trim, state, None)
  room_B = room(_lengths(model, gate, state), length)
  return jax.lax.switch(
    jnp.searchsorted(jnp.array(_sizes(length)), room_B.max()),
    [functools.partial(finish, size=size) for size in _sizes(length)],
    *(state, room_B),
  )


class _State(NamedTuple):
  """What travels from layer to layer."""

  ran: jax.Array  # [] int32, layers
  hidden_BxTxD: jax.Array
  stopped_B: jax.Array  # bool
  layers_B: jax.Array  # int32, that each text ran through


def _start(model: Elmer, rows: int, length: int) -> _State:
  blank_BxT = model.blank_target(rows, length)
  return _State(
    jnp.int32(0),
    model.decoder.embedding(model.tokens[...], blank_BxT, None),
    jnp.zeros(rows, bool),
    jnp.zeros(rows, jnp.int32),
  )


def _judged(
  model: Elmer,
  gate: Gate,
  threshold: jax.Array,
  state: _State,
  above_BxTxD: jax.Array,
  seen_BxT: jax.Array | None,
) -> _State:
  """Takes in another layer's output, where a text has not stopped, and judges it."""
  stopped_B = state.stopped_B
  hidden_BxTxD = jnp.where(stopped_B[:, None, None], state.hidden_BxTxD, above_BxTxD)
  states_BxTxD = model.decoder.off_ramp(hidden_BxTxD)
  # Behind the last layer this reads the gate before it, and nobody asks any more.
  logits_BxTx2 = states_BxTxD @ gate.weights_LxDx2[state.ran]
  logits_BxTx2 += gate.bias_Lx2[state.ran][None, None]
  verdict = judge(logits_BxTx2, gate.caution_L[state.ran], seen_BxT)
  return _State(
    state.ran + 1,
    hidden_BxTxD,
    stopped_B | opens(verdict, threshold),
    jnp.where(stopped_B, state.layers_B, state.ran + 1),
  )


def _lengths(model: Elmer, gate: Gate, state: _State) -> jax.Array:
  """Returns the positions that each text takes [B], by the layer that it came to."""
  states_BxTxD = model.decoder.off_ramp(state.hidden_BxTxD)
  weights_BxDx2, bias_Bx2, caution_B = (part[state.layers_B - 1] for part in gate)
  logits_BxTx2 = states_BxTxD @ weights_BxDx2 + bias_Bx2[:, None]
  return judge(logits_BxTx2, caution_B[:, None]).length_B


def _sizes(length: int) -> list[int]:
  """Returns the lengths that positions are dropped to, each a program of its own."""
  return [-(-length * part // _SIZES) for part in range(1, _SIZES + 1)]


def room(length_B: jax.Array, length: int) -> jax.Array:
  """Returns [B], the positions that a text keeps, of T = `length`."""
  sizes = jnp.array(_sizes(length))
  wanted_B = jnp.minimum(length_B + MARGIN, length)
  return sizes[jnp.searchsorted(sizes, wanted_B)]


class Observed(NamedTuple):
  """Every layer's doings where no text stops."""

  states_LxBxTxD: jax.Array  # as head and gate read them
  ids_LxBxT: jax.Array  # int32, what a text is that stops there: PAD where dropped
  seen_LxBxT: jax.Array  # bool, the positions that the layer had


@functools.partial(jax.jit, static_argnames=("config", "length", "trim"))
def observe(
  config: ModelConfig,
  params: dict,
  source_ids_BxS: jax.Array,
  *,
  length: int,
  gate: Gate | None = None,
  trim: int = 0,
) -> Observed:
  """Returns what a gate is fitted to and calibrated on.

  Args:
    gate: says which positions are dropped, where `trim` has some dropped.
  """
  model = elmer.bind(config, params)
  encoded_BxSxD, mask_BxS = model.encode(source_ids_BxS)
  shape = (len(source_ids_BxS), length)
  unknown_BxT = jnp.full(shape, PAD_ID, jnp.int32)

  def step(layer, index, carry):
    hidden_BxTxD, seen_BxT = carry
    hidden_BxTxD = layer(hidden_BxTxD, encoded_BxSxD, mask_BxS, seen_BxT, None)
    states_BxTxD = model.decoder.off_ramp(hidden_BxTxD)
    ids_BxT = objective.read_head(model, states_BxTxD, unknown_BxT).prediction
    kept_BxT = seen_BxT
    if trim:
      logits_BxTx2 = states_BxTxD @ gate.weights_LxDx2[index]
      logits_BxTx2 += gate.bias_Lx2[index][None, None]
      length_B = judge(logits_BxTx2, gate.caution_L[index]).length_B
      room_BxT = jnp.arange(length)[None] < room(length_B, length)[:, None]
      kept_BxT = jnp.where(index < trim, room_BxT, seen_BxT)
      ids_BxT = jnp.where(kept_BxT, ids_BxT, PAD_ID)
    seen_above_BxT = jnp.where(index == trim - 1, kept_BxT, seen_BxT)
    return (hidden_BxTxD, seen_above_BxT), Observed(states_BxTxD, ids_BxT, seen_BxT)

  _, found = scan_layers(
    model.decoder.layers,
    step,
    (_start(model, *shape).hidden_BxTxD, jnp.ones(shape, bool)),
    config.decoder_layers,
    config,
  )
  return found


def logits(gate: Gate, states_LxBxTxD: jax.Array) -> jax.Array:
  """Returns what the gate says behind each layer but the last, [L - 1, B, T, 2].

  Args:
    states_LxBxTxD: of those layers, [L - 1, B, T, D].
  """
  logits_LxBxTx2 = jnp.einsum("lbtd,ldk->lbtk", states_LxBxTxD, gate.weights_LxDx2)
  return logits_LxBxTx2 + gate.bias_Lx2[:, None, None]


def verdicts(gate: Gate, observed: Observed) -> Verdict:
  """Returns the verdict behind each layer but the last, [L - 1, B] each."""
  logits_LxBxTx2 = logits(gate, observed.states_LxBxTxD[:-1])
  return jax.vmap(judge)(logits_LxBxTx2, gate.caution_L, observed.seen_LxBxT[:-1])
