# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The model for decoding, on any platform: its layers are run one by one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from elmer_jax.decoding.head import HeadPrediction, read_in_chunks
from elmer_jax.model.decoder import AfterLayer, pass_on
from elmer_jax.model.elmer import Elmer, Head
from elmer_jax.objectives import soft_exit
from elmer_jax.tokenizer.special_ids import PAD_ID

_TEXTS = 8  # texts that `map_texts` takes at a time


class LayerwiseModel(Elmer):
  """The model without dropout and causal attention, its layers in lists.

  Each layer has arrays of its own. A scan would copy them out of the stacked arrays at
  every pass, and in decoding reading the weights takes much of the time.
  """

  def __init__(self, model: Elmer):
    """Takes over the modules of a plain model, which can't be used afterwards."""
    config = model.config
    self.config = config
    self.tokens = model.tokens
    self.logits_bias = model.logits_bias
    self.encoder = model.encoder
    self.decoder = model.decoder
    if config.soft_exit:
      self.soft_exit = model.soft_exit
    if config.transition_heads:
      self.transitions = model.transitions
    if config.dtype == "bfloat16":
      self.round_weights()
    self.encoder.layers = unstack(self.encoder.layers, config.encoder_layers)
    self.decoder.layers = unstack(self.decoder.layers, config.decoder_layers)

  def round_weights(self) -> None:
    """Rounds the weights of all products to bfloat16 once instead of at every call."""
    self.tokens = nnx.Param(self.tokens[...].astype(jnp.bfloat16))
    for _, module in nnx.iter_modules(self):
      if isinstance(module, nnx.Linear):
        module.kernel = nnx.Param(module.kernel[...].astype(jnp.bfloat16))

  def encode(self, source_ids_BxS: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the encoder's states [B, S, D] and the mask [B, S], false for PAD."""
    mask_BxS = source_ids_BxS != PAD_ID
    hidden_BxSxD = self.encoder.embedding(self.tokens[...], source_ids_BxS, None)
    for layer in self.encoder.layers:
      hidden_BxSxD = layer(hidden_BxSxD, mask_BxS, None)
    return self.encoder.output(hidden_BxSxD), mask_BxS

  def embed_blank_target(self, batch: int, length: int) -> jax.Array:
    """Returns the embedding [B, T, D] of the input of one-pass decoding."""
    blank_BxT = self.blank_target(batch, length)
    return self.decoder.embedding(self.tokens[...], blank_BxT, None)

  def decode(
    self,
    decoder_ids_BxT: jax.Array,
    encoded_BxSxD: jax.Array,
    source_mask_BxS: jax.Array,
    target_mask_BxT: jax.Array | None = None,
    after_layer: AfterLayer = pass_on,
    carry: object = None,
  ) -> tuple[jax.Array, object, object]:
    """Does what `Decoder` does; the layer's index is a Python integer."""
    hidden_BxTxD = self.decoder.embedding(self.tokens[...], decoder_ids_BxT, None)
    outputs = []
    for index, layer in enumerate(self.decoder.layers):
      hidden_BxTxD = layer(
        hidden_BxTxD, encoded_BxSxD, source_mask_BxS, target_mask_BxT, None
      )
      hidden_BxTxD, carry, output = after_layer(index, hidden_BxTxD, carry)
      outputs.append(output)
    return hidden_BxTxD, carry, jax.tree.map(lambda *each: jnp.stack(each), *outputs)

  def run_layer(
    self,
    index: jax.Array,
    hidden_BxTxD: jax.Array,
    encoded_BxSxD: jax.Array,
    source_mask_BxS: jax.Array,
    target_mask_BxT: jax.Array | None = None,
  ) -> jax.Array:
    """Runs the decoder layer whose index [] int32 is known at run time only.

    Each layer is a branch that reads its own weights; indexing stacked weights would
    copy them.
    """
    branches = [
      lambda *inputs, layer=layer: layer(*inputs, None) for layer in self.decoder.layers
    ]
    inputs = (hidden_BxTxD, encoded_BxSxD, source_mask_BxS, target_mask_BxT)
    return jax.lax.switch(index, branches, *inputs)

  def off_ramp(self, hidden_BxTxD: jax.Array) -> jax.Array:
    """Returns the input of the head after a layer [B, T, D]: see `Decoder.off_ramp`."""
    return self.decoder.off_ramp(hidden_BxTxD)

  def read_head(
    self, hidden_BxTxD: jax.Array, choose_with_bias: bool = True
  ) -> HeadPrediction:
    """Applies the head after a layer; `choose_with_bias`: see `Elmer.head`."""
    return read_in_chunks(
      self.off_ramp(hidden_BxTxD), self.head(choose_with_bias), self.config.head_chunk
    )

  def predict(
    self, hidden_BxTxD: jax.Array, choose_with_bias: bool = True
  ) -> jax.Array:
    """Returns the ids [B, T] int32 of `read_head` alone."""
    return self.read_head(hidden_BxTxD, choose_with_bias).ids

  def project_prediction(
    self, hidden_BxTxD: jax.Array, ids_BxT: jax.Array
  ) -> jax.Array:
    """Returns soft exit's input of the next layer [B, T, D]."""
    return soft_exit.project(self, hidden_BxTxD, ids_BxT)

  def ranking_head(self) -> Head:
    """Returns a head whose scores may be approximate: see `shortlist`."""
    return self.head(choose_with_bias=False)

  def map_texts(self, function: Callable, arrays: tuple):
    """Maps a function over axis 0 of arrays with bounded memory."""
    return jax.lax.map(function, arrays, batch_size=_TEXTS)


def unstack(layers: nnx.Module, count: int) -> nnx.List:
  """Returns stacked layers as a list, first to last."""
  graph, state = nnx.split(layers)

  def layer(index: int) -> nnx.Module:
    return nnx.merge(graph, jax.tree.map(lambda leaf: leaf[index], state))

  return nnx.List([layer(index) for index in range(count)])
