# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""One-pass decoding: all tokens of a text at once, cut at the first EOS.

The number of positions is fixed beforehand and is never the reference's: the model
says by its EOS where a text ends. Positions behind EOS count for nothing.
"""

import functools
from typing import NamedTuple

import jax
import numpy as np

from elmer_jax.decoding import head
from elmer_jax.decoding.screen import Screen
from elmer_jax.errors import UserError
from elmer_jax.model import elmer
from elmer_jax.model.config import ModelConfig
from elmer_jax.objectives import soft_exit
from elmer_jax.special_ids import EOS_ID, PAD_ID

EXITS = ("none", "soft")


class Decoded(NamedTuple):
  """What one pass says."""

  ids: jax.Array  # [B, T] int32, the predictions of the last layer
  log_probability: jax.Array  # [B, T] float32, of those, in nats
  by_layer: jax.Array | None  # [L, B, T] int32, every layer's predictions


@functools.partial(jax.jit, static_argnames=("config", "length", "exit", "all_layers"))
def decode(
  config: ModelConfig,
  params: dict,
  source_ids_BxS: jax.Array,
  *,
  length: int,
  exit: str,
  all_layers: bool = False,
  screen: Screen | None = None,
) -> Decoded:
  """Predicts `length` positions for each source in one pass.

  Args:
    config: the model's sizes.
    params: its parameters; fastest as `elmer.for_decoding` gives them.
    source_ids_BxS: int32 ids with BOS and EOS, padded with PAD.
    length: target positions T.
    exit: "none" (plain layers) or "soft" (each layer hands its guess upward).
    all_layers: whether to tell each layer's predictions too; the head then runs L
      times, as it does for soft exit anyway.
    screen: of the token table, for the guesses below the last layer.
  """
  if elmer.is_stacked(params):
    params = elmer.for_decoding(config, params)
  model = elmer.bind(config, params)
  encoded_BxSxD, mask_BxS = model.encode(source_ids_BxS)
  shape = (source_ids_BxS.shape[0], length)

  each_layer = exit == "soft" or all_layers

  def read(index, hidden_BxTxD, said):
    if index == config.decoder_layers - 1:
      said = head.read(model, hidden_BxTxD)
      return hidden_BxTxD, said, said.ids if each_layer else None
    if not each_layer:
      return hidden_BxTxD, said, None
    ids_BxT = head.predict(model, hidden_BxTxD, exit != "soft", screen)
    if exit == "soft":
      hidden_BxTxD = soft_exit.project(model, hidden_BxTxD, ids_BxT)
    return hidden_BxTxD, said, ids_BxT

  _, said, by_layer_LxBxT = model.decode(
    model.blank_target(*shape), encoded_BxSxD, mask_BxS, after_layer=read
  )
  return Decoded(said.ids, said.log_probability, by_layer_LxBxT)


def check_exit(exit: str, objective_name: str) -> None:
  """Raises `UserError` for an exit that a checkpoint was not trained for.

  Layers trained behind the soft-exit projection mean nothing without it, and the
  others have no projection.
  """
  trained = "soft" if objective_name == "soft_exit" else "none"
  if exit not in EXITS:
    raise UserError(f"--exit is one of {', '.join(EXITS)}; not {exit!r}")
  if exit != trained:
    raise UserError(
      f"--exit={exit} doesn't fit this checkpoint: it was trained with objective "
      f"{objective_name}, use --exit={trained}"
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
