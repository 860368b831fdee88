# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""One-pass decoding: all tokens of a text at once, cut at the first EOS.

The number of positions is fixed beforehand and is never the reference's: the model
predicts EOS where a text ends, and positions after it are ignored. (Only comparisons
with published scores give each text its reference's length.)

The programs differ in what happens between the decoder layers: nothing; soft exit,
where the prediction after each layer is projected into the next layer's input; or hard
exit, where a token exits after the first layer whose distribution has an entropy below
a threshold, and its state is copied upward.

Common arguments:

  config          the model's sizes
  params          from `decoding_model.prepare`
  source_ids_BxS  int32 ids with BOS and EOS, padded with PAD
  lengths_B       int32, the number of positions of each text; ids after them are PAD.
                  None: `length` for all
  length          target positions T
  details         whether to return more than ids: log-probabilities, for which the head
                  computes the whole distribution, and every layer's predictions, for
                  which it runs after each layer
"""

import functools

import jax
import jax.numpy as jnp

from elmer_jax.decoding import decoding_model
from elmer_jax.decoding.decoded import Decoded
from elmer_jax.decoding.decoding_model import DecodingParams
from elmer_jax.decoding.layerwise_model import LayerwiseModel
from elmer_jax.decoding.shortlist import select
from elmer_jax.model.config import ModelConfig
from elmer_jax.model.decoder import AfterLayer
from elmer_jax.tokenizer.special_ids import PAD_ID


@functools.partial(jax.jit, static_argnames=("config", "length", "details"))
def decode_without_exit(
  config: ModelConfig,
  params: DecodingParams,
  source_ids_BxS: jax.Array,
  lengths_B: jax.Array | None = None,
  *,
  length: int,
  details: bool = False,
) -> Decoded:
  """Predicts T tokens of each source after the last layer; see the top of the file."""
  model = decoding_model.bind(config, params)

  def after_layer(index, hidden_BxTxD, carry):
    ids_BxT, log_probability_BxT = carry
    if index == config.decoder_layers - 1:
      ids_BxT, log_probability_BxT = _read_last(model, hidden_BxTxD, details)
    elif details:
      ids_BxT = model.predict(hidden_BxTxD)
    carry = (ids_BxT, log_probability_BxT)
    return hidden_BxTxD, carry, ids_BxT if details else None

  (ids_BxT, log_probability_BxT), by_layer_LxBxT = _run(
    model, source_ids_BxS, lengths_B, length, after_layer, (None, None)
  )
  return _decoded(config, ids_BxT, log_probability_BxT, by_layer_LxBxT, lengths_B)


@functools.partial(
  jax.jit, static_argnames=("config", "length", "shortlist_size", "details")
)
def decode_with_soft_exit(
  config: ModelConfig,
  params: DecodingParams,
  source_ids_BxS: jax.Array,
  lengths_B: jax.Array | None = None,
  *,
  length: int,
  shortlist_size: int = 0,
  details: bool = False,
) -> Decoded:
  """Predicts T tokens of each source, with predictions projected between layers.

  Args:
    config, params, source_ids_BxS, lengths_B, length, details: see the top of the file.
    shortlist_size: the number of tokens, selected for each text after the first layer,
      that predictions below the last layer are limited to; 0: no limit.
  """
  model = decoding_model.bind(config, params)

  def after_layer(index, hidden_BxTxD, carry):
    _, _, shortlist = carry
    if index == config.decoder_layers - 1:
      ids_BxT, log_probability_BxT = _read_last(model, hidden_BxTxD, details)
      carry = (ids_BxT, log_probability_BxT, shortlist)
      return hidden_BxTxD, carry, ids_BxT if details else None
    if not shortlist_size:
      ids_BxT = model.predict(hidden_BxTxD, choose_with_bias=False)
    else:
      if shortlist is None:
        mask_BxT = _target_mask(lengths_B, length)
        shortlist = select(model, hidden_BxTxD, shortlist_size, mask_BxT)
      ids_BxT = shortlist.predict(model, hidden_BxTxD)
    hidden_BxTxD = model.project_prediction(hidden_BxTxD, ids_BxT)
    return hidden_BxTxD, (None, None, shortlist), ids_BxT if details else None

  (ids_BxT, log_probability_BxT, _), by_layer_LxBxT = _run(
    model, source_ids_BxS, lengths_B, length, after_layer, (None, None, None)
  )
  return _decoded(config, ids_BxT, log_probability_BxT, by_layer_LxBxT, lengths_B)


@functools.partial(jax.jit, static_argnames=("config", "length"))
def decode_with_hard_exit(
  config: ModelConfig,
  params: DecodingParams,
  source_ids_BxS: jax.Array,
  lengths_B: jax.Array | None,
  entropy_threshold: jax.Array | float,
  *,
  length: int,
) -> Decoded:
  """Predicts T tokens of each source; a token exits at the first layer of low entropy.

  All layers run; the states of tokens that have exited are copied upward. The head is
  applied after each layer, so details cost nothing and are always returned.

  Args:
    config, params, source_ids_BxS, lengths_B, length: see the top of the file.
    entropy_threshold: in nats. At 0 no token exits early.
  """
  model = decoding_model.bind(config, params)
  shape = (len(source_ids_BxS), length)

  def after_layer(index, raw_BxTxD, carry):
    exited_BxT, state_BxTxD, exit_layers_BxT, _ = carry
    state_BxTxD = jnp.where(exited_BxT[..., None], state_BxTxD, raw_BxTxD)
    exit_layers_BxT = jnp.where(exited_BxT, exit_layers_BxT, index)
    prediction = model.read_head(state_BxTxD)
    exited_BxT |= prediction.entropy < entropy_threshold
    carry = exited_BxT, state_BxTxD, exit_layers_BxT, prediction.log_probability
    return state_BxTxD, carry, prediction.ids

  start = (
    jnp.zeros(shape, bool),
    jnp.zeros_like(model.embed_blank_target(*shape)),
    jnp.zeros(shape, jnp.int32),
    jnp.zeros(shape, jnp.float32),
  )
  (_, _, exit_layers_BxT, log_probability_BxT), by_layer_LxBxT = _run(
    model, source_ids_BxS, lengths_B, length, after_layer, start
  )
  decoded = _decoded(
    config, by_layer_LxBxT[-1], log_probability_BxT, by_layer_LxBxT, lengths_B
  )
  return decoded._replace(exit_layers=exit_layers_BxT)


def _read_last(
  model: LayerwiseModel, hidden_BxTxD: jax.Array, details: bool
) -> tuple[jax.Array, jax.Array | None]:
  """Returns the ids after the last layer and, with details, their log-probabilities."""
  if not details:
    return model.predict(hidden_BxTxD), None
  prediction = model.read_head(hidden_BxTxD)
  return prediction.ids, prediction.log_probability


def _target_mask(lengths_B: jax.Array | None, length: int) -> jax.Array | None:
  """Returns bool [B, T], true at the positions of each text; None: all are."""
  if lengths_B is None:
    return None
  return jnp.arange(length)[None] < lengths_B[:, None]


def _run(
  model: LayerwiseModel,
  source_ids_BxS: jax.Array,
  lengths_B: jax.Array | None,
  length: int,
  after_layer: AfterLayer,
  carry: object,
) -> tuple[object, object]:
  """Runs encoder and decoder; returns the last carry and the stacked outputs."""
  encoded_BxSxD, mask_BxS = model.encode(source_ids_BxS)
  _, carry, outputs = model.decode(
    model.blank_target(len(source_ids_BxS), length),
    encoded_BxSxD,
    mask_BxS,
    _target_mask(lengths_B, length),
    after_layer=after_layer,
    carry=carry,
  )
  return carry, outputs


def _decoded(
  config: ModelConfig,
  ids_BxT: jax.Array,
  log_probability_BxT: jax.Array | None,
  by_layer_LxBxT: jax.Array | None,
  lengths_B: jax.Array | None,
) -> Decoded:
  """Returns the result of a program in which all tokens run through all layers."""
  mask_BxT = _target_mask(lengths_B, ids_BxT.shape[1])
  if mask_BxT is not None:
    ids_BxT = jnp.where(mask_BxT, ids_BxT, PAD_ID)
  exit_layers_BxT = None
  if log_probability_BxT is not None:
    exit_layers_BxT = jnp.full(ids_BxT.shape, config.decoder_layers - 1, jnp.int32)
  return Decoded(ids_BxT, log_probability_BxT, exit_layers_BxT, by_layer_LxBxT)
