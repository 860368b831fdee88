# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""One-pass decoding: all tokens of a text at once, cut at the first EOS.

The number of positions is fixed beforehand and is never the reference's: the model
predicts EOS where a text ends, and positions after it are ignored. (Only a comparison
with the published figures gives each text its reference's length.)

What happens between the layers depends on the exit: "none"; "soft", where the
prediction after each layer is projected into the next layer's input; or "hard", where a
token exits after the first layer whose distribution has an entropy below the threshold,
and its state is copied upward.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from elmer_jax.core.errors import UserError
from elmer_jax.decoding import decoding_model
from elmer_jax.decoding.decoding_model import DecodingParams
from elmer_jax.decoding.layerwise_model import LayerwiseModel
from elmer_jax.decoding.shortlist import select
from elmer_jax.model.config import ModelConfig
from elmer_jax.tokenizer.special_ids import EOS_ID, PAD_ID

EXITS = ("none", "soft", "hard")
# The exits of a checkpoint by its objective, the default first; "none" for all others.
# Soft exit needs its projection, and layers trained with it need it; hard exit needs
# layers that were trained with copied states.
_FITTING = {
  "soft_exit": ("soft",),
  "hard_exit": ("hard", "none"),
  "lplm": ("none", "hard"),
}


class Decoded(NamedTuple):
  """The result of one pass; without details the ids alone (hard exit has all)."""

  ids: jax.Array  # [B, T] int32, the predictions after the last layer
  log_probability: jax.Array | None  # [B, T] float32, of those, in nats
  by_layer: jax.Array | None  # [L, B, T] int32, every layer's predictions
  exit_layers: jax.Array | None = None  # [B, T] int32, 0-based; hard exit only


@functools.partial(
  jax.jit, static_argnames=("config", "length", "exit", "shortlist", "details")
)
def decode(
  config: ModelConfig,
  params: DecodingParams,
  source_ids_BxS: jax.Array,
  *,
  length: int,
  exit: str,
  threshold: float = 0.0,
  shortlist: int = 0,
  oracle_lengths_B: jax.Array | None = None,
  details: bool = False,
) -> Decoded:
  """Predicts `length` positions for each source in one pass.

  Args:
    config: the model's sizes.
    params: from `decoding_model.prepare`.
    source_ids_BxS: int32 ids with BOS and EOS, padded with PAD.
    length: target positions T.
    exit: one of `EXITS`.
    threshold: of hard exit, in nats. With 0 no token exits, as with "none".
    shortlist: of soft exit: the number of tokens, selected for each text after the
      first layer, that predictions below the last layer are limited to; 0: no limit.
    oracle_lengths_B: int32, the number of positions of each text, as if `length` were
      that; the others are PAD. None: `length`.
    details: whether to return more than the ids: log-probabilities, for which the head
      computes the whole distribution, and each layer's predictions, for which it runs L
      times (as it does for hard exit anyway). A token that has exited keeps its
      prediction in all higher layers.
  """
  model = decoding_model.bind(config, params)
  encoded_BxSxD, mask_BxS = model.encode(source_ids_BxS)
  shape = (source_ids_BxS.shape[0], length)
  mask_BxT = None
  if oracle_lengths_B is not None:
    mask_BxT = jnp.arange(length)[None] < oracle_lengths_B[:, None]
  if exit == "hard":
    decoded = _decode_hard(model, encoded_BxSxD, mask_BxS, shape, mask_BxT, threshold)
    return _pad_beyond_text(decoded, mask_BxT)

  def predict(hidden_BxTxD, is_last, listed):
    if not shortlist or is_last:
      return model.predict(hidden_BxTxD, is_last or exit != "soft"), listed
    if listed is None:
      listed = select(model, hidden_BxTxD, shortlist, mask_BxT)
    return listed.predict(model, hidden_BxTxD), listed

  def after_layer(index, hidden_BxTxD, carry):
    ids_BxT, log_probability_BxT, listed = carry
    is_last = index == config.decoder_layers - 1
    if is_last and details:
      ids_BxT, log_probability_BxT, _ = model.read_head(hidden_BxTxD)
    elif is_last or details or exit == "soft":
      ids_BxT, listed = predict(hidden_BxTxD, is_last, listed)
    if exit == "soft" and not is_last:
      hidden_BxTxD = model.project_prediction(hidden_BxTxD, ids_BxT)
    carry = (ids_BxT, log_probability_BxT, listed)
    return hidden_BxTxD, carry, ids_BxT if details else None

  _, (ids_BxT, log_probability_BxT, _), by_layer_LxBxT = model.decode(
    model.blank_target(*shape),
    encoded_BxSxD,
    mask_BxS,
    mask_BxT,
    after_layer=after_layer,
    carry=(None, None, None),
  )
  decoded = Decoded(ids_BxT, log_probability_BxT, by_layer_LxBxT)
  return _pad_beyond_text(decoded, mask_BxT)


def _pad_beyond_text(decoded: Decoded, mask_BxT: jax.Array | None) -> Decoded:
  """Writes PAD where the mask is false."""
  if mask_BxT is None:
    return decoded
  return decoded._replace(ids=jnp.where(mask_BxT, decoded.ids, PAD_ID))


def _decode_hard(
  model: LayerwiseModel,
  encoded_BxSxD: jax.Array,
  mask_BxS: jax.Array,
  shape: tuple[int, int],
  mask_BxT: jax.Array | None,
  threshold: jax.Array,
) -> Decoded:
  """Runs all layers and copies the states of exited tokens upward.

  The head is applied after each layer, so details cost nothing.
  """

  def after_layer(index, raw_BxTxD, carry):
    exited_BxT, state_BxTxD, exit_layers_BxT, _ = carry
    state_BxTxD = jnp.where(exited_BxT[..., None], state_BxTxD, raw_BxTxD)
    exit_layers_BxT = jnp.where(exited_BxT, exit_layers_BxT, index)
    prediction = model.read_head(state_BxTxD)
    exited_BxT |= prediction.entropy < threshold
    carry = exited_BxT, state_BxTxD, exit_layers_BxT, prediction.log_probability
    return state_BxTxD, carry, prediction.ids

  start = (
    jnp.zeros(shape, bool),
    jnp.zeros((*shape, model.config.d_model), encoded_BxSxD.dtype),
    jnp.zeros(shape, jnp.int32),
    jnp.zeros(shape, jnp.float32),
  )
  _, (_, _, exit_layers_BxT, log_probability_BxT), by_layer_LxBxT = model.decode(
    model.blank_target(*shape),
    encoded_BxSxD,
    mask_BxS,
    mask_BxT,
    after_layer=after_layer,
    carry=start,
  )
  return Decoded(
    by_layer_LxBxT[-1], log_probability_BxT, by_layer_LxBxT, exit_layers_BxT
  )


def default_exit(objective_name: str) -> str:
  """Returns the exit that a model trained with this objective uses by default."""
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
  """Raises `UserError` for a threshold out of range or without hard exit."""
  if exit != "hard":
    raise UserError(f"--threshold={threshold} is for --exit=hard; the exit is {exit}")
  highest = math.log(vocabulary_size)
  if not 0 <= threshold <= highest:
    raise UserError(
      f"--threshold={threshold} must lie between 0 (no token exits early) and "
      f"{highest:.2f} nats, the entropy of {vocabulary_size} equally likely tokens"
    )


def check_shortlist(size: int, exit: str, vocabulary_size: int) -> None:
  """Raises `UserError` for a shortlist out of range or without soft exit."""
  if exit != "soft":
    raise UserError(f"--shortlist={size} is for --exit=soft; the exit is {exit}")
  if not 1 <= size <= vocabulary_size:
    raise UserError(
      f"--shortlist={size} must lie between 1 and the {vocabulary_size} tokens of the "
      "vocabulary"
    )


def text_length(ids_T: np.ndarray) -> int:
  """Returns the number of tokens before the first EOS or PAD."""
  ends = np.flatnonzero((ids_T == EOS_ID) | (ids_T == PAD_ID))
  return int(ends[0]) if ends.size else len(ids_T)


def without_repeats(ids_T: np.ndarray) -> np.ndarray:
  """Returns a mask [T] that is false where a token repeats the one before it."""
  return np.concatenate([[True], ids_T[1:] != ids_T[:-1]])[: len(ids_T)]


def last_change(by_layer_LxT: np.ndarray) -> np.ndarray:
  """Returns [T], the first 0-based layer after which a prediction does not change."""
  differs_LxT = by_layer_LxT != by_layer_LxT[-1:]
  layers_L = np.arange(1, len(by_layer_LxT) + 1)
  return (differs_LxT * layers_L[:, None]).max(0)
