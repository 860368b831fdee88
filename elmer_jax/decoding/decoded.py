# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The result of every decoding strategy, and what can be computed from its ids."""

from typing import NamedTuple

import jax
import numpy as np

from elmer_jax.tokenizer.special_ids import EOS_ID, PAD_ID


class Decoded(NamedTuple):
  """Predicted tokens of B sources; the fields mean the same for every strategy.

  Positions after the first EOS or PAD are not part of a text. The optional fields are
  None where no details were requested, or where a strategy does not compute them.
  """

  ids: jax.Array  # [B, T] int32
  log_probability: jax.Array | None = None  # [B, T] float32, of `ids`, in nats
  # [B, T] int32, 0-based: the decoder layer whose state gave the token.
  exit_layers: jax.Array | None = None
  # [L, B, T] int32: the prediction after each decoder layer. A token that has exited
  # keeps its prediction in the layers above.
  by_layer: jax.Array | None = None


def text_length(ids_T: np.ndarray) -> int:
  """Returns the number of tokens before the first EOS or PAD."""
  ends = np.flatnonzero((ids_T == EOS_ID) | (ids_T == PAD_ID))
  return int(ends[0]) if ends.size else len(ids_T)


def is_no_repeat(ids_T: np.ndarray) -> np.ndarray:
  """Returns bool [T], false where a token equals the token before it."""
  return np.concatenate([[True], ids_T[1:] != ids_T[:-1]])[: len(ids_T)]


def stable_layers(by_layer_LxT: np.ndarray) -> np.ndarray:
  """Returns int [T], the 0-based first layer from which a prediction stays the same."""
  differs_LxT = by_layer_LxT != by_layer_LxT[-1:]
  layers_L = np.arange(1, len(by_layer_LxT) + 1)
  return (differs_LxT * layers_L[:, None]).max(0)
