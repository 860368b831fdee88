# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Token and position embeddings of one side of the model."""

import jax
import jax.numpy as jnp
from flax import nnx

from elmer_jax.model import layers
from elmer_jax.model.config import ModelConfig
from elmer_jax.model.sharding_constraints import constrain
from elmer_jax.tokenizer.special_ids import PAD_ID

POSITION_OFFSET = 2  # BART's tables keep two unused rows before position 0


def look_up(tokens_VxD: jax.Array, ids: jax.Array, dtype: jnp.dtype) -> jax.Array:
  """Returns the rows of `ids` [..., D], without a gradient for PAD's row.

  BART's embedding has none either; the head's gradient still reaches that row.
  """
  # A lookup can't be sharded along D.
  rows = constrain(tokens_VxD, "vocab", None)[ids].astype(dtype)
  rows = constrain(rows, "batch", *(None,) * ids.ndim)
  return jnp.where((ids == PAD_ID)[..., None], jax.lax.stop_gradient(rows), rows)


class InputEmbedding(nnx.Module):
  """`norm(scale · token + position)`, with dropout; the token table is shared."""

  def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
    self.config = config
    rows = config.positions + POSITION_OFFSET
    self.positions = layers.table(config, rows, ("positions", "embed"), rngs)
    self.norm = layers.layer_norm(config, rngs)

  def __call__(
    self,
    tokens_VxD: jax.Array,
    ids_BxT: jax.Array,
    keys_B: jax.Array | None,
    first_position: int | jax.Array = 0,
  ) -> jax.Array:
    """Returns [B, T, D]; positions start at `first_position`."""
    dtype = jnp.dtype(self.config.dtype)
    hidden_BxTxD = look_up(tokens_VxD, ids_BxT, dtype)
    if self.config.scale_embedding:
      hidden_BxTxD *= self.config.d_model**0.5
    positions_TxD = jax.lax.dynamic_slice_in_dim(
      self.positions[...], first_position + POSITION_OFFSET, ids_BxT.shape[1]
    )
    positions_BxTxD = jnp.broadcast_to(positions_TxD[None], hidden_BxTxD.shape)
    hidden_BxTxD = self.norm(hidden_BxTxD + positions_BxTxD.astype(dtype))
    return layers.dropout(hidden_BxTxD, keys_B, self.config.dropout)
