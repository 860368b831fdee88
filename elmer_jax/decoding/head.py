# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The prediction of the head where no gradient is needed."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from elmer_jax.model.elmer import Head
from elmer_jax.objectives.linear_cross_entropy import linear_cross_entropy
from elmer_jax.tokenizer.special_ids import PAD_ID


class HeadPrediction(NamedTuple):
  """The head's prediction at each position, [B, T] each."""

  ids: jax.Array  # int32, the most likely token (the lowest id among equals)
  log_probability: jax.Array  # float32, of that token, in nats
  entropy: jax.Array  # float32, of the distribution, in nats


def read_in_chunks(states_BxTxD: jax.Array, head: Head, chunk: int) -> HeadPrediction:
  """Computes the logits of `chunk` tokens of the vocabulary at a time."""
  unknown_BxT = jnp.full(states_BxTxD.shape[:-1], PAD_ID, jnp.int32)
  output = linear_cross_entropy(states_BxTxD, head, unknown_BxT, chunk)
  return HeadPrediction(output.prediction, output.log_probability, output.entropy)
