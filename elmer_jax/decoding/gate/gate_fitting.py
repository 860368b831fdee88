# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Fits a gate to a finished model.

A logistic regression after every decoder layer but the last, on the model's own
predictions for training sources. Targets are not used.
"""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from elmer_jax.decoding.decoding_model import DecodingParams
from elmer_jax.decoding.gate import gated_decoding
from elmer_jax.decoding.gate.gated_decoding import Gate
from elmer_jax.model.config import ModelConfig
from elmer_jax.tokenizer.special_ids import EOS_ID

_EPOCHS = 30
_LEARNING_RATE = 1e-2
_TRUNCATED_SHARE = 0.01  # of the texts that dropping positions may truncate


class Labels(NamedTuple):
  """Targets of the regression."""

  stable_LxBxT: jax.Array  # bool [L - 1, B, T]: the prediction is the last layer's
  after_text_BxT: jax.Array  # bool: the position is after the last layer's EOS


def labels(ids_LxBxT: jax.Array) -> Labels:
  """Returns the labels that follow from every layer's predictions."""
  is_eos_BxT = ids_LxBxT[-1] == EOS_ID
  after_text_BxT = (jnp.cumsum(is_eos_BxT, axis=-1) - is_eos_BxT) > 0
  return Labels(ids_LxBxT[:-1] == ids_LxBxT[-1:], after_text_BxT)


def fit(
  config: ModelConfig,
  params: DecodingParams,
  sources: Iterable[np.ndarray],
  length: int,
) -> Gate:
  """Fits a gate to a model.

  Args:
    config: the model's sizes.
    params: from `decoding_model.prepare`.
    sources: batches of int32 ids [B, S]. Their states are kept in memory:
      4 · L · B · T · D bytes a batch.
    length: target positions T.
  """
  observed = []
  for ids_BxS in sources:
    found = gated_decoding.observe(config, params, ids_BxS, length=length)
    observed.append((found.states_LxBxTxD[:-1], labels(found.ids_LxBxT)))
  zeros = jnp.zeros((config.decoder_layers - 1, config.d_model, 2))
  gate = Gate(zeros, zeros[:, 0], zeros[:, 0, 0])
  schedule = optax.cosine_decay_schedule(_LEARNING_RATE, _EPOCHS * len(observed))
  optimizer = optax.adam(schedule)

  @jax.jit
  def step(gate, state, states_LxBxTxD, wanted):
    gradients = jax.grad(_loss)(gate, states_LxBxTxD, wanted)
    updates, state = optimizer.update(gradients, state)
    return optax.apply_updates(gate, updates), state

  state = optimizer.init(gate)
  for _, batch in itertools.product(range(_EPOCHS), observed):
    gate, state = step(gate, state, *batch)
  highest_LxN = np.concatenate([_highest(gate, *batch) for batch in observed], axis=1)
  trim_logit_L = np.quantile(highest_LxN, 1 - _TRUNCATED_SHARE, axis=1)
  return gate._replace(trim_logit_L=jnp.asarray(trim_logit_L, jnp.float32))


@jax.jit
def _highest(gate: Gate, states_LxBxTxD: jax.Array, wanted: Labels) -> jax.Array:
  """Returns [L - 1, B], the highest after-text logit within each text.

  Dropping positions at a lower logit would truncate the text.
  """
  length_B = (~wanted.after_text_BxT).sum(-1)
  positions_T = jnp.arange(wanted.after_text_BxT.shape[1])
  needed_BxT = positions_T[None] < length_B[:, None] - gated_decoding.MARGIN
  logits_LxBxT = gated_decoding.logits(gate, states_LxBxTxD)[..., 1]
  return jnp.where(needed_BxT[None], logits_LxBxT, 0.0).max(-1)


def _loss(gate: Gate, states_LxBxTxD: jax.Array, wanted: Labels) -> jax.Array:
  """Returns the sum of both mean cross-entropies; stability counts within texts."""
  logits_LxBxTx2 = gated_decoding.logits(gate, states_LxBxTxD)
  cross_entropy = optax.sigmoid_binary_cross_entropy
  stable_LxBxT = cross_entropy(
    logits_LxBxTx2[..., 0], wanted.stable_LxBxT.astype(jnp.float32)
  )
  after_text_LxBxT = cross_entropy(
    logits_LxBxTx2[..., 1], wanted.after_text_BxT[None].astype(jnp.float32)
  )
  text_BxT = ~wanted.after_text_BxT
  within_text = (stable_LxBxT * text_BxT[None]).mean() / text_BxT.mean()
  return within_text + after_text_LxBxT.mean()
