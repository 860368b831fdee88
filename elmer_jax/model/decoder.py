# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The decoder, with a function that is called after every layer.

It is bidirectional; with `causal` it is BART's decoder.

The objectives differ in what happens between two layers (copies of exited states, the
soft-exit projection, a loss at every off-ramp), so the caller passes it as a function
and the layers stay one scan.
"""

from collections.abc import Callable

import jax
from flax import nnx

from elmer_jax.model import layers
from elmer_jax.model.config import ModelConfig
from elmer_jax.model.embedding import InputEmbedding
from elmer_jax.model.stack import scan_layers, stack

# (layer index, its output [B, T, D], carry) → (input of the next layer [B, T, D],
# carry, output of any shape, stacked over layers)
AfterLayer = Callable[[jax.Array, jax.Array, object], tuple[jax.Array, object, object]]


def pass_on(index: jax.Array, hidden_BxTxD: jax.Array, carry: object):
  """Passes a layer's output to the next layer unchanged."""
  del index
  return hidden_BxTxD, carry, None


class DecoderLayer(nnx.Module):
  """Self-attention over the target positions, cross-attention, feed-forward."""

  def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
    self.attention = layers.Attention(config, config.decoder_heads, rngs)
    self.attention_residual = layers.Residual(config, rngs)
    self.cross_attention = layers.Attention(config, config.decoder_heads, rngs)
    self.cross_attention_residual = layers.Residual(config, rngs)
    self.feed_forward = layers.FeedForward(config, config.decoder_feed_forward, rngs)
    self.feed_forward_residual = layers.Residual(config, rngs)

  def __call__(
    self,
    hidden_BxTxD: jax.Array,
    encoded_BxSxD: jax.Array,
    source_mask_BxS: jax.Array | None,
    target_mask_BxT: jax.Array | None,
    keys_B: jax.Array | None,
    causal: bool = False,
  ) -> jax.Array:
    """Returns [B, T, D]; `causal`: a position attends to itself and those before it."""
    training = keys_B is not None
    return self.apply_branches(
      hidden_BxTxD,
      lambda x_BxTxD: self.attention(
        x_BxTxD, x_BxTxD, target_mask_BxT, causal, training
      ),
      lambda x_BxTxD: self.cross_attention(
        x_BxTxD, encoded_BxSxD, source_mask_BxS, training=training
      ),
      keys_B,
    )

  def apply_branches(
    self,
    hidden_BxTxD: jax.Array,
    attend: Callable[[jax.Array], jax.Array],
    attend_source: Callable[[jax.Array], jax.Array],
    keys_B: jax.Array | None = None,
  ) -> jax.Array:
    """Runs the layer with its attentions given as functions [B, T, D] → [B, T, D]."""
    hidden_BxTxD = self.attention_residual(
      hidden_BxTxD, attend, layers.fold_in(keys_B, 0)
    )
    hidden_BxTxD = self.cross_attention_residual(
      hidden_BxTxD, attend_source, layers.fold_in(keys_B, 1)
    )
    return self.feed_forward_residual(
      hidden_BxTxD, self.feed_forward, layers.fold_in(keys_B, 2)
    )


class Decoder(nnx.Module):
  """Embedding and stacked layers, with an off-ramp after each layer."""

  def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
    self.config = config
    self.embedding = InputEmbedding(config, rngs)
    self.layers = stack(
      lambda rngs: DecoderLayer(config, rngs), config.decoder_layers, rngs
    )
    if config.norm == "pre":
      self.norm = layers.layer_norm(config, rngs)

  def __call__(
    self,
    tokens_VxD: jax.Array,
    ids_BxT: jax.Array,
    encoded_BxSxD: jax.Array,
    source_mask_BxS: jax.Array | None,
    target_mask_BxT: jax.Array | None = None,
    keys_B: jax.Array | None = None,
    after_layer: AfterLayer = pass_on,
    carry: object = None,
    causal: bool = False,
  ) -> tuple[jax.Array, object, object]:
    """Runs all layers and calls `after_layer` after each of them.

    Returns:
      The hidden states that `after_layer` returned after the last layer [B, T, D], the
      last carry, and the outputs stacked [L, ...].
    """
    hidden_BxTxD = self.embedding(tokens_VxD, ids_BxT, layers.fold_in(keys_B, 0))

    def step(layer, index, state):
      hidden_BxTxD, carry = state
      hidden_BxTxD = layer(
        hidden_BxTxD,
        encoded_BxSxD,
        source_mask_BxS,
        target_mask_BxT,
        layers.fold_in(keys_B, index + 1),
        causal,
      )
      hidden_BxTxD, carry, output = after_layer(index, hidden_BxTxD, carry)
      return (hidden_BxTxD, carry), output

    (hidden_BxTxD, carry), outputs = scan_layers(
      self.layers, step, (hidden_BxTxD, carry), self.config.decoder_layers, self.config
    )
    return hidden_BxTxD, carry, outputs

  def off_ramp(self, hidden_BxTxD: jax.Array) -> jax.Array:
    """Returns the input of the head after a layer [B, T, D]: normalised if pre-norm."""
    return self.norm(hidden_BxTxD) if self.config.norm == "pre" else hidden_BxTxD
