# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Mask-predict: a text is refined in several passes of the decoder.

The first pass predicts all tokens, as one-pass decoding does. Each later one masks the
tokens with the lowest probability again, fewer each time, and predicts them from the
others: before pass k of K, a text of N tokens has ⌊N · (K - k + 1) / K⌋ masks. A text
ends at its first EOS, which a later pass may move to the left. Source: Ghazvininejad et
al., 2019 (arXiv 1904.09324).
"""

import functools

import jax
import jax.numpy as jnp

from elmer_jax.decoding import decoding_model
from elmer_jax.decoding.decoded import Decoded
from elmer_jax.decoding.decoding_model import DecodingParams
from elmer_jax.model.config import ModelConfig
from elmer_jax.tokenizer.special_ids import EOS_ID


@functools.partial(jax.jit, static_argnames=("config", "length", "passes"))
def decode(
  config: ModelConfig,
  params: DecodingParams,
  source_ids_BxS: jax.Array,
  *,
  length: int,
  passes: int,
) -> Decoded:
  """Predicts at most `length` tokens of each source, EOS included.

  Args:
    config: the model's sizes.
    params: from `decoding_model.prepare`.
    source_ids_BxS: int32 ids with BOS and EOS, padded with PAD.
    length: T.
    passes: K, of the decoder; the encoder runs once.

  Returns:
    Ids, their log-probabilities when they were predicted, and the last layer for all.
  """
  model = decoding_model.bind(config, params)
  encoded_BxSxD, mask_BxS = model.encode(source_ids_BxS)
  blank_BxT = model.blank_target(len(source_ids_BxS), length)

  def predict(decoder_ids_BxT: jax.Array):
    hidden_BxTxD, _, _ = model.decode(decoder_ids_BxT, encoded_BxSxD, mask_BxS)
    return model.read_head(hidden_BxTxD)

  def refine(number: jax.Array, state):
    ids_BxT, log_probability_BxT = state
    is_text_BxT = up_to_eos(ids_BxT)
    count_B = is_text_BxT.sum(-1) * (passes - number) // passes
    is_masked_BxT = least_likely(log_probability_BxT, is_text_BxT, count_B)
    revealed_BxT = is_text_BxT & ~is_masked_BxT
    prediction = predict(jnp.where(revealed_BxT, ids_BxT, blank_BxT))
    return (
      jnp.where(is_masked_BxT, prediction.ids, ids_BxT),
      jnp.where(is_masked_BxT, prediction.log_probability, log_probability_BxT),
    )

  first = predict(blank_BxT)
  ids_BxT, log_probability_BxT = jax.lax.fori_loop(
    1, passes, refine, (first.ids, first.log_probability)
  )
  last = jnp.full(ids_BxT.shape, config.decoder_layers - 1, jnp.int32)
  return Decoded(ids_BxT, log_probability_BxT, last)


def up_to_eos(ids_BxT: jax.Array) -> jax.Array:
  """Returns bool [B, T], true up to each text's first EOS, which is part of it."""
  is_eos_BxT = ids_BxT == EOS_ID
  return jnp.cumsum(is_eos_BxT, -1) - is_eos_BxT == 0


def least_likely(
  log_probability_BxT: jax.Array, is_text_BxT: jax.Array, count_B: jax.Array
) -> jax.Array:
  """Returns bool [B, T], true at the `count_B` least likely tokens of each text."""
  order_BxT = jnp.where(is_text_BxT, log_probability_BxT, jnp.inf)
  rank_BxT = jnp.argsort(jnp.argsort(order_BxT, axis=-1), axis=-1)
  return is_text_BxT & (rank_BxT < count_B[:, None])
