# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The decoder, with a place to act after every layer.

It is bidirectional: every position sees all. As the causal one it becomes BART's,
which writes a token at a time and keeps the keys and values of those before it.

What happens between two layers is what tells the objectives apart (copies of exited
states, the soft-exit projection, a loss at every off-ramp), so the caller hands it in
as a function and the stack stays one scan.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from elmer_jax.model import layers
from elmer_jax.model.config import ModelConfig
from elmer_jax.model.embedding import InputEmbedding
from elmer_jax.model.layers import Cached
from elmer_jax.model.stack import scan_layers, stack

# (layer index, its output [B, T, D], carry) → (input of the next layer [B, T, D],
# carry, output of any shape, stacked over layers)
AfterLayer = Callable[[jax.Array, jax.Array, object], tuple[jax.Array, object, object]]


def pass_on(index: jax.Array, hidden_BxTxD: jax.Array, carry: object):
  """Hands a layer's output to the next layer: the plain decoder."""
  del index
  return hidden_BxTxD, carry, None


class DecoderLayer(nnx.Module):
  """Self-attention over the target positions, cross-attention, feed-forward."""

  def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
    self.attention = layers.Attention(config, config.decoder_heads, rngs)
    self.attention_join = layers.Residual(config, rngs)
    self.cross_attention = layers.Attention(config, config.decoder_heads, rngs)
    self.cross_attention_join = layers.Residual(config, rngs)
    self.feed_forward = layers.FeedForward(config, config.decoder_feed_forward, rngs)
    self.feed_forward_join = layers.Residual(config, rngs)

  def __call__(
    self,
    hidden_BxTxD: jax.Array,
    encoded_BxSxD: jax.Array,
    source_mask_BxS: jax.Array | None,
    target_mask_BxT: jax.Array | None,
    keys_B: jax.Array | None,
    causal: bool = False,
  ) -> jax.Array:
    """Returns [B, T, D]; `causal`: a position sees itself and those before it."""
    training = keys_B is not None
    return self._join(
      hidden_BxTxD,
      lambda x_BxTxD: self.attention(
        x_BxTxD, x_BxTxD, target_mask_BxT, causal, training
      ),
      lambda x_BxTxD: self.cross_attention(
        x_BxTxD, encoded_BxSxD, source_mask_BxS, training=training
      ),
      keys_B,
    )

  def extend(
    self,
    hidden_Nx1xD: jax.Array,
    position: jax.Array,
    past: Cached,
    source: Cached,
    source_mask_BxS: jax.Array,
  ) -> tuple[jax.Array, Cached]:
    """Runs the causal layer for one position of N texts, after those in `past`.

    Args:
      hidden_Nx1xD: the position's state; N is B or a multiple, and texts of one source
        stand side by side.
      position: its number, from 0.
      past: what self-attention remembers of the positions before it, [N, H, T, K].
      source: what cross-attention remembers of the B sources.
      source_mask_BxS: what is not PAD.

    Returns:
      The position's state [N, 1, D], and `past` with the position in it.
    """

    def attend_past(x_Nx1xD):
      nonlocal past
      new = self.attention.remember(x_Nx1xD)
      past = jax.tree.map(
        lambda kept, one: jax.lax.dynamic_update_slice_in_dim(kept, one, position, 2),
        past,
        new,
      )
      seen_T = jnp.arange(past.keys.shape[2]) <= position
      return self.attention.recall(x_Nx1xD, past, seen_T[None])

    def attend_source(x_Nx1xD):
      # The texts of a source are so many queries to it: its keys need no copies.
      x_BxNxD = x_Nx1xD.reshape(len(source_mask_BxS), -1, x_Nx1xD.shape[-1])
      mixed_BxNxD = self.cross_attention.recall(x_BxNxD, source, source_mask_BxS)
      return mixed_BxNxD.reshape(x_Nx1xD.shape)

    return self._join(hidden_Nx1xD, attend_past, attend_source), past

  def _join(self, hidden_BxTxD, attend, attend_source, keys_B=None) -> jax.Array:
    hidden_BxTxD = self.attention_join(hidden_BxTxD, attend, layers.fold_in(keys_B, 0))
    hidden_BxTxD = self.cross_attention_join(
      hidden_BxTxD, attend_source, layers.fold_in(keys_B, 1)
    )
    return self.feed_forward_join(
      hidden_BxTxD, self.feed_forward, layers.fold_in(keys_B, 2)
    )


class Decoder(nnx.Module):
  """Embedding and a scanned stack of layers, each of which ends at an off-ramp."""

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
    """Runs all layers, with `after_layer` behind each of them.

    Returns:
      What `after_layer` handed on after the last layer [B, T, D], the last carry, and
      the outputs stacked [L, ...].
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
    """Returns a layer's output as the head reads it [B, T, D]: normed if pre-norm."""
    return self.norm(hidden_BxTxD) if self.config.norm == "pre" else hidden_BxTxD
