# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Transition probabilities between the decoder positions of a directed acyclic graph.

Each decoder position is a vertex; a text is a path from the first vertex upward. From
vertex i a path goes to one of the vertices i + 1 … i + W, with a probability that
attention heads compute from the decoder states: a softmax over the successors for each
head, mixed by a gate. Source: DA-Transformer, Huang et al., ICML 2022 (arXiv
2205.07459), section 3.1.

Arrays of transitions are [B, W, P]: entry [b, w, i] is the log-probability of going
from vertex i to vertex i + w + 1. The last axis is long, so that loops over paths are
vectorised, and memory grows with W · P rather than with P².
"""

import jax
import jax.numpy as jnp
from flax import nnx

from elmer_jax.model import layers
from elmer_jax.model.config import ModelConfig

NEVER = -1e9  # log-probability of what is impossible: finite, so gradients stay numbers

# The distance bias of head h starts at -0.7 · 2⁻ʰ a vertex: transitions start out
# favouring neighbours, as the pre-trained decoder predicts neighbouring tokens there.
_STEEPEST = 0.7


class Transitions(nnx.Module):
  """Attention heads over successor vertices, mixed by a gate."""

  def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
    heads = config.transition_heads
    self.heads = heads
    self.window = config.transition_window
    square = (2 * config.d_model, config.d_model)
    self.query = layers.linear(config, square, ("embed", "heads"), rngs)
    self.key = layers.linear(config, square, ("embed", "heads"), rngs)
    self.gate = layers.linear(config, (square[0], heads), ("embed", "norm"), rngs)
    slopes_H = _STEEPEST * 0.5 ** jnp.arange(heads, dtype=jnp.float32)
    distances_W = jnp.arange(self.window, dtype=jnp.float32)
    self.distance_bias_HxW = nnx.Param(
      -slopes_H[:, None] * distances_W[None], axes=("norm", "norm")
    )

  def __call__(self, states_BxPxD: jax.Array, positions_PxD: jax.Array) -> jax.Array:
    """Returns log-probabilities of transitions [B, W, P] float32.

    Args:
      states_BxPxD: decoder states as the head reads them.
      positions_PxD: embeddings of the decoder positions.
    """
    batch, count, width = states_BxPxD.shape
    window = min(self.window, count)
    positions_BxPxD = jnp.broadcast_to(positions_PxD[None], states_BxPxD.shape)
    inputs_BxPx2D = jnp.concatenate(
      [states_BxPxD, positions_BxPxD.astype(states_BxPxD.dtype)], axis=-1
    )
    split = (batch, count, self.heads, -1)
    queries_BxPxHxK = self.query(inputs_BxPx2D).reshape(split)
    keys_BxPxHxK = self.key(inputs_BxPx2D).reshape(split)
    scale = (width // self.heads) ** -0.5
    logits_BxHxWxP = successor_scores(queries_BxPxHxK * scale, keys_BxPxHxK, window)
    bias_HxW = self.distance_bias_HxW[...][:, :window]
    exists_WxP = jnp.arange(window)[:, None] + 1 + jnp.arange(count)[None] < count
    logits_BxHxWxP = jnp.where(
      exists_WxP[None, None], logits_BxHxWxP + bias_HxW[None, :, :, None], NEVER
    )
    gate_BxHxP = jax.nn.log_softmax(
      self.gate(inputs_BxPx2D).astype(jnp.float32).swapaxes(1, 2), axis=1
    )
    by_head_BxHxWxP = jax.nn.log_softmax(logits_BxHxWxP, axis=2)
    mixed_BxWxP = jax.nn.logsumexp(by_head_BxHxWxP + gate_BxHxP[:, :, None], axis=1)
    return jnp.where(exists_WxP[None], mixed_BxWxP, NEVER)


def successor_scores(
  queries_BxPxHxK: jax.Array, keys_BxPxHxK: jax.Array, window: int
) -> jax.Array:
  """Returns q_i · k_{i+w+1}, [B, H, W, P] float32; 0 where there is no such vertex.

  Queries go in blocks of W positions, each of which meets the keys of its own block and
  of the next: 2 · W · P products a head rather than P².
  """
  batch, count, heads, _ = queries_BxPxHxK.shape
  blocks = -(-count // window)

  def cut(x_BxPxHxK: jax.Array, extra: int) -> jax.Array:
    rest = (blocks + extra) * window - count
    padded = jnp.pad(x_BxPxHxK, ((0, 0), (0, rest), (0, 0), (0, 0)))
    return padded.reshape(batch, blocks + extra, window, heads, -1)

  keys = cut(keys_BxPxHxK, 1)
  keys_BxNx2WxHxK = jnp.concatenate([keys[:, :-1], keys[:, 1:]], axis=2)
  scores_BxNxHxWx2W = jnp.einsum(
    "bnihk,bnjhk->bnhij",
    cut(queries_BxPxHxK, 0),
    keys_BxNx2WxHxK,
    preferred_element_type=jnp.float32,
  )
  # Row i of a block moves i + 1 entries to the left: column w is then key i + w + 1.
  width = 2 * window
  rows = jnp.pad(scores_BxNxHxWx2W, ((0, 0),) * 4 + ((0, 1),))
  flat = rows.reshape(*rows.shape[:3], window * (width + 1))
  flat = jnp.pad(flat, ((0, 0),) * 3 + ((0, window),))
  moved = flat.reshape(*rows.shape[:3], window, width + 2)[..., 1 : window + 1]
  # [B, N, H, W queries, W successors] → [B, H, W successors, P]
  by_successor = moved.transpose(0, 2, 4, 1, 3)
  return by_successor.reshape(batch, heads, window, -1)[..., :count]
