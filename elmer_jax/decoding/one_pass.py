# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""One-pass decoding: all tokens of a text at once, cut at the first EOS.

The number of positions is fixed beforehand and is never the reference's: the model
says by its EOS where a text ends. Positions behind EOS count for nothing. (Only a
comparison with the published figures gives each text positions of its own.)

What happens between the layers is the exit: "none" (plain layers), "soft" (each layer
hands its guess upward) or "hard": a token leaves at the first layer whose distribution
has an entropy below the threshold, and its state is copied upward from there.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from elmer_jax.core.errors import UserError
from elmer_jax.decoding import head
from elmer_jax.decoding.cpu import bfloat16_argmax, encoder_groups
from elmer_jax.decoding.cpu.bfloat16_argmax import Screen
from elmer_jax.decoding.shortlist import draw_up
from elmer_jax.model import elmer
from elmer_jax.model.config import ModelConfig
from elmer_jax.model.elmer import Elmer
from elmer_jax.objectives import soft_exit
from elmer_jax.tokenizer.special_ids import EOS_ID, PAD_ID

EXITS = ("none", "soft", "hard")
# What a checkpoint can do, by its objective, first what it is for; "none" for the rest.
# Layers trained behind the soft-exit projection mean nothing without it, the others
# have none; copies mean something only to layers that were trained among them.
_FITTING = {
  "soft_exit": ("soft",),
  "hard_exit": ("hard", "none"),
  "lplm": ("none", "hard"),
}


class Decoded(NamedTuple):
  """What one pass says."""

  ids: jax.Array  # [B, T] int32, the predictions of the last layer
  # Where details were asked for:
  log_probability: jax.Array | None  # [B, T] float32, of those, in nats
  by_layer: jax.Array | None  # [L, B, T] int32, every layer's predictions
  exit_layers: jax.Array | None = None  # [B, T] int32, 0-based; hard exit only


class Prepared(NamedTuple):
  """What `decode` computes with, by its names for it, as it is read fastest."""

  params: dict
  guess_by: Screen | None


def prepare(config: ModelConfig, params: dict) -> Prepared:
  """Arranges parameters once for all: `decode(config, **prepared._asdict(), …)`."""
  screens = config.dtype == "float32" and bfloat16_argmax.pays()
  return Prepared(
    jax.jit(elmer.for_decoding, static_argnums=0)(config, params),
    jax.jit(bfloat16_argmax.prepare)(params["tokens"]) if screens else None,
  )


@functools.partial(
  jax.jit, static_argnames=("config", "length", "exit", "shortlist", "details")
)
def decode(
  config: ModelConfig,
  params: dict,
  source_ids_BxS: jax.Array,
  *,
  length: int,
  exit: str,
  threshold: float = 0.0,
  shortlist: int = 0,
  oracle_lengths_B: jax.Array | None = None,
  details: bool = False,
  guess_by: Screen | None = None,
) -> Decoded:
  """Predicts `length` positions for each source in one pass.

  Args:
    config: the model's sizes.
    params: its parameters; fastest as `elmer.for_decoding` gives them.
    source_ids_BxS: int32 ids with BOS and EOS, padded with PAD.
    length: target positions T.
    exit: one of `EXITS`.
    threshold: of hard exit, in nats. With 0 no token leaves, as with "none".
    shortlist: of soft exit: so many tokens, chosen behind the first layer for each
      text, are what guesses below the last layer are made of; 0: all tokens are.
    oracle_lengths_B: int32, so many positions of a text are seen and written, as if
      `length` were that; those behind are PAD. None: all.
    details: whether to tell more than the ids: how likely they are, for which the head
      computes all probabilities, and each layer's predictions, for which it runs L
      times (as it does for hard exit anyway). A token that has left says the same in
      all layers above.
    guess_by: of the token table, where only ids are asked of the head; see `prepare`.
  """
  if elmer.is_stacked(params):
    params = elmer.for_decoding(config, params)
  model = elmer.bind(config, params)
  encoded_BxSxD, mask_BxS = encoder_groups.read(model, source_ids_BxS)
  shape = (source_ids_BxS.shape[0], length)
  seen_BxT = None
  if oracle_lengths_B is not None:
    seen_BxT = jnp.arange(length)[None] < oracle_lengths_B[:, None]
  if exit == "hard":
    decoded = _decode_hard(model, encoded_BxSxD, mask_BxS, shape, seen_BxT, threshold)
    return _only_seen(decoded, seen_BxT)

  def guess(hidden_BxTxD, is_last, listed):
    if not shortlist or is_last:
      with_bias = is_last or exit != "soft"
      return head.predict(model, hidden_BxTxD, with_bias, guess_by), listed
    if listed is None:
      listed = draw_up(model, hidden_BxTxD, shortlist, seen_BxT, guess_by)
    return listed.predict(model, hidden_BxTxD), listed

  def read(index, hidden_BxTxD, carry):
    said, listed = carry
    is_last = index == config.decoder_layers - 1
    if is_last and details:
      said = head.read(model, hidden_BxTxD)
    elif is_last or details or exit == "soft":
      ids_BxT, listed = guess(hidden_BxTxD, is_last, listed)
      said = head.Said(ids_BxT, None, None)
    if exit == "soft" and not is_last:
      hidden_BxTxD = soft_exit.project(model, hidden_BxTxD, said.ids)
    return hidden_BxTxD, (said, listed), said.ids if details else None

  _, (said, _), by_layer_LxBxT = model.decode(
    model.blank_target(*shape),
    encoded_BxSxD,
    mask_BxS,
    seen_BxT,
    after_layer=read,
    carry=(None, None),
  )
  decoded = Decoded(said.ids, said.log_probability, by_layer_LxBxT)
  return _only_seen(decoded, seen_BxT)


def _only_seen(decoded: Decoded, seen_BxT: jax.Array | None) -> Decoded:
  """Returns PAD for positions that don't exist for a text."""
  if seen_BxT is None:
    return decoded
  return decoded._replace(ids=jnp.where(seen_BxT, decoded.ids, PAD_ID))


def _decode_hard(
  model: Elmer,
  encoded_BxSxD: jax.Array,
  mask_BxS: jax.Array,
  shape: tuple[int, int],
  seen_BxT: jax.Array | None,
  threshold: jax.Array,
) -> Decoded:
  """Runs all layers; whoever has left stands still in those above.

  The head says all at each of them, so details cost nothing.
  """

  def leave(index, raw_BxTxD, carry):
    left_BxT, state_BxTxD, exit_layers_BxT, _ = carry
    state_BxTxD = jnp.where(left_BxT[..., None], state_BxTxD, raw_BxTxD)
    exit_layers_BxT = jnp.where(left_BxT, exit_layers_BxT, index)
    said = head.read(model, state_BxTxD)
    left_BxT |= said.entropy < threshold
    carry = left_BxT, state_BxTxD, exit_layers_BxT, said.log_probability
    return state_BxTxD, carry, said.ids

  start = (
    jnp.zeros(shape, bool),
    jnp.zeros((*shape, model.config.d_model), encoded_BxSxD.dtype),
    jnp.zeros(shape, jnp.int32),
    jnp.zeros(shape, jnp.float32),
  )
  _, (_, _, exit_layers_BxT, best_BxT), by_layer_LxBxT = model.decode(
    model.blank_target(*shape),
    encoded_BxSxD,
    mask_BxS,
    seen_BxT,
    after_layer=leave,
    carry=start,
  )
  return Decoded(by_layer_LxBxT[-1], best_BxT, by_layer_LxBxT, exit_layers_BxT)


def default_exit(objective_name: str) -> str:
  """Returns the exit that a model trained with this objective is for."""
  return _FITTING.get(objective_name, ("none",))[0]


def check_exit(exit: str, objective_name: str) -> None:
  """Raises `UserError` for an exit that a checkpoint was not trained for."""
  fitting = _FITTING.get(objective_name, ("none",))
  if exit not in EXITS:
    raise UserError(f"--exit is one of {', '.join(EXITS)}; not {exit!r}")
  if exit not in fitting:
    raise UserError(
      f"--exit={exit} doesn't fit this checkpoint: it was trained with objective "
      f"{objective_name}, use --exit={' or --exit='.join(fitting)}"
    )


def check_threshold(threshold: float, exit: str, vocabulary_size: int) -> None:
  """Raises `UserError` for a threshold that no entropy can meet or has a use for."""
  if exit != "hard":
    raise UserError(f"--threshold={threshold} is for --exit=hard; the exit is {exit}")
  highest = math.log(vocabulary_size)
  if not 0 <= threshold <= highest:
    raise UserError(
      f"--threshold={threshold} must lie between 0 (no token leaves early) and "
      f"{highest:.2f} nats, the entropy of a guess among {vocabulary_size} tokens"
    )


def check_shortlist(size: int, exit: str, vocabulary_size: int) -> None:
  """Raises `UserError` for a shortlist that nobody reads or that can't be drawn up."""
  if exit != "soft":
    raise UserError(f"--shortlist={size} is for --exit=soft; the exit is {exit}")
  if not 1 <= size <= vocabulary_size:
    raise UserError(
      f"--shortlist={size} must lie between 1 and the {vocabulary_size} tokens of the "
      "vocabulary"
    )


def text_length(ids_T: np.ndarray) -> int:
  """Returns how many tokens stand before the first EOS or PAD."""
  ends = np.flatnonzero((ids_T == EOS_ID) | (ids_T == PAD_ID))
  return int(ends[0]) if ends.size else len(ids_T)


def without_repeats(ids_T: np.ndarray) -> np.ndarray:
  """Returns a mask [T] that is false where a token repeats the one before it."""
  return np.concatenate([[True], ids_T[1:] != ids_T[:-1]])[: len(ids_T)]


def last_change(by_layer_LxT: np.ndarray) -> np.ndarray:
  """Returns [T], the 0-based layer from which on a prediction stays as it ends."""
  differs_LxT = by_layer_LxT != by_layer_LxT[-1:]
  layers_L = np.arange(1, len(by_layer_LxT) + 1)
  return (differs_LxT * layers_L[:, None]).max(0)
