# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Autoregressive decoding, greedy or with beams: the baseline of one-pass decoding.

One jitted program from the ids of the sources to those of the texts.
"""

import functools

import jax
import jax.numpy as jnp

from elmer_jax.decoding import beam, decoding_model
from elmer_jax.decoding.decoding_model import DecodingParams
from elmer_jax.decoding.incremental import (
  Search,
  Sequences,
  StepDecoder,
  blank,
  constrain,
)
from elmer_jax.model.config import ModelConfig
from elmer_jax.tokenizer.special_ids import EOS_ID, PAD_ID


@functools.partial(jax.jit, static_argnames=("config", "length", "search"))
def decode(
  config: ModelConfig,
  params: DecodingParams,
  source_ids_BxS: jax.Array,
  *,
  length: int,
  search: Search,
) -> Sequences:
  """Generates at most `length` tokens for each source, BOS and EOS included.

  Args:
    config: the model's sizes.
    params: from `decoding_model.prepare`.
    source_ids_BxS: int32 ids with BOS and EOS, padded with PAD.
    length: the largest number of tokens, at most the model's positions.
    search: settings.
  """
  model = decoding_model.bind(config, params)
  decoder = StepDecoder.start(model, source_ids_BxS)
  if search.beams > 1:
    return beam.search(decoder, source_ids_BxS.shape[0], length, search)
  return _greedy(decoder, source_ids_BxS.shape[0], length, search)


def _greedy(decoder: StepDecoder, rows: int, length: int, search: Search) -> Sequences:
  """Takes the most likely token at each step."""

  def step(state):
    count, ids_BxT, log_probability_BxT, done_B, cache = state
    logits_BxV, cache = decoder.decode_step(ids_BxT[:, count], count, cache)
    allowed_BxV = constrain(
      jax.nn.log_softmax(logits_BxV), ids_BxT, count, length, search
    )
    best_B = allowed_BxV.max(-1)
    # The arg-max as two reductions: XLA's own is slow on a CPU.
    ids_1xV = jnp.arange(allowed_BxV.shape[1])[None]
    next_B = jnp.where(allowed_BxV == best_B[:, None], ids_1xV, ids_1xV.size).min(-1)
    next_B = jnp.where(done_B, PAD_ID, next_B)
    best_B = jnp.where(done_B, 0.0, best_B)
    return (
      count + 1,
      ids_BxT.at[:, count + 1].set(next_B.astype(jnp.int32)),
      log_probability_BxT.at[:, count + 1].set(best_B),
      done_B | (next_B == EOS_ID),
      cache,
    )

  start = (
    jnp.int32(0),
    blank(rows, length),
    jnp.zeros((rows, 1 + length), jnp.float32),
    jnp.zeros(rows, bool),
    decoder.empty_cache(rows, length),
  )
  _, ids_BxT, log_probability_BxT, _, _ = jax.lax.while_loop(
    lambda state: (state[0] < length) & ~state[3].all(), step, start
  )
  written_B = (ids_BxT[:, 1:] != PAD_ID).sum(-1).astype(jnp.float32)
  score_B = log_probability_BxT.sum(-1) / written_B**search.length_penalty
  return Sequences(
    ids_BxT[:, None, 1:], score_B[:, None], log_probability_BxT[:, None, 1:]
  )
