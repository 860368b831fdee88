# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The encoder: from source ids to one state per source position."""

import jax
from flax import nnx

from elmer_jax.model import layers
from elmer_jax.model.config import ModelConfig
from elmer_jax.model.embedding import InputEmbedding
from elmer_jax.model.stack import scan_layers, stack


class EncoderLayer(nnx.Module):
  """Self-attention and feed-forward."""

  def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
    self.attention = layers.Attention(config, config.encoder_heads, rngs)
    self.attention_residual = layers.Residual(config, rngs)
    self.feed_forward = layers.FeedForward(config, config.encoder_feed_forward, rngs)
    self.feed_forward_residual = layers.Residual(config, rngs)

  def __call__(
    self,
    hidden_BxSxD: jax.Array,
    mask_BxS: jax.Array | None,
    keys_B: jax.Array | None,
  ) -> jax.Array:
    """Returns [B, S, D]."""
    hidden_BxSxD = self.attention_residual(
      hidden_BxSxD,
      lambda x_BxSxD: self.attention(
        x_BxSxD, x_BxSxD, mask_BxS, training=keys_B is not None
      ),
      layers.fold_in(keys_B, 0),
    )
    return self.feed_forward_residual(
      hidden_BxSxD, self.feed_forward, layers.fold_in(keys_B, 1)
    )


class Encoder(nnx.Module):
  """Embedding, stacked layers and, with pre-norm, a final norm."""

  def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
    self.config = config
    self.embedding = InputEmbedding(config, rngs)
    self.layers = stack(
      lambda rngs: EncoderLayer(config, rngs), config.encoder_layers, rngs
    )
    if config.norm == "pre":
      self.norm = layers.layer_norm(config, rngs)

  def __call__(
    self,
    tokens_VxD: jax.Array,
    ids_BxS: jax.Array,
    mask_BxS: jax.Array | None,
    keys_B: jax.Array | None = None,
  ) -> jax.Array:
    """Returns the states [B, S, D]; without keys, no dropout."""
    hidden_BxSxD = self.embedding(tokens_VxD, ids_BxS, layers.fold_in(keys_B, 0))

    def step(layer, index, hidden_BxSxD):
      return layer(hidden_BxSxD, mask_BxS, layers.fold_in(keys_B, index + 1)), None

    hidden_BxSxD, _ = scan_layers(
      self.layers, step, hidden_BxSxD, self.config.encoder_layers, self.config
    )
    return self.output(hidden_BxSxD)

  def output(self, hidden_BxSxD: jax.Array) -> jax.Array:
    """Returns the encoder's states [B, S, D]: normalised if pre-norm."""
    return self.norm(hidden_BxSxD) if self.config.norm == "pre" else hidden_BxSxD
