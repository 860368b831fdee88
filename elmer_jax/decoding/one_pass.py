# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""One-pass decoding: all tokens of a text at once, cut at the first EOS.

The number of positions is fixed beforehand and is never the reference's: the model
says by its EOS where a text ends. Positions behind EOS count for nothing.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from elmer_jax.errors import UserError
from elmer_jax.model import elmer
from elmer_jax.model.config import ModelConfig
from elmer_jax.model.decoder import pass_on
from elmer_jax.objectives import objective, soft_exit
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
) -> Decoded:
  """Predicts `length` positions for each source in one pass.

  Args:
    config: the model's sizes.
    params: its parameters.
    source_ids_BxS: int32 ids with BOS and EOS, padded with PAD.
    length: target positions T.
    exit: "none" (plain layers) or "soft" (each layer hands its guess upward).
    all_layers: whether to tell each layer's predictions too; the head then runs L
      times, as it does for soft exit anyway.
  """
  model = elmer.bind(config, params)
  encoded_BxSxD, mask_BxS = model.encode(source_ids_BxS)
  shape = (source_ids_BxS.shape[0], length)
  unknown_BxT = jnp.full(shape, PAD_ID, jnp.int32)

  def read(index, hidden_BxTxD, carry):
    del carry
    if exit == "none":
      output = objective.read_off_ramp(model, hidden_BxTxD, unknown_BxT)
    else:
      output = soft_exit.read_off_ramp(model, index, hidden_BxTxD, unknown_BxT)
      hidden_BxTxD = soft_exit.project(model, hidden_BxTxD, output.prediction)
    return hidden_BxTxD, output.log_probability, output.prediction

  each_layer = exit == "soft" or all_layers
  hidden_BxTxD, best_BxT, by_layer_LxBxT = model.decode(
    model.blank_target(*shape),
    encoded_BxSxD,
    mask_BxS,
    after_layer=read if each_layer else pass_on,
    carry=jnp.zeros(shape, jnp.float32),
  )
  if each_layer:
    return Decoded(by_layer_LxBxT[-1], best_BxT, by_layer_LxBxT)
  output = objective.read_off_ramp(model, hidden_BxTxD, unknown_BxT)
  return Decoded(output.prediction, output.log_probability, None)


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
