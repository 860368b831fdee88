# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The model for decoding on a CPU."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from elmer_jax.decoding.cpu import bfloat16_argmax, head_groups
from elmer_jax.decoding.cpu.blocked_attention import BlockedAttention
from elmer_jax.decoding.cpu.cross_attention import CrossAttention
from elmer_jax.decoding.head import HeadPrediction
from elmer_jax.decoding.layerwise_model import LayerwiseModel
from elmer_jax.model.elmer import Elmer, Head


class CPUModel(LayerwiseModel):
  """Computes what `LayerwiseModel` computes, in the order that suits a CPU."""

  def __init__(self, model: Elmer):
    super().__init__(model)
    for layer in self.encoder.layers:
      layer.attention = BlockedAttention(layer.attention)
    for layer in self.decoder.layers:
      layer.attention = BlockedAttention(layer.attention)
      layer.cross_attention = CrossAttention(layer.cross_attention)

  def round_weights(self) -> None:
    """Rounds weights to bfloat16 and keeps the results of products in float32.

    A CPU with such instructions multiplies bfloat16 about twice as fast as float32, but
    takes longer where the sums are to be rounded.
    """
    super().round_weights()
    for _, module in nnx.iter_modules(self):
      if isinstance(module, nnx.Linear):
        module.preferred_element_type = jnp.float32
      elif isinstance(module, nnx.LayerNorm):
        module.dtype = jnp.float32

  def read_head(
    self, hidden_BxTxD: jax.Array, choose_with_bias: bool = True
  ) -> HeadPrediction:
    head = self.head(choose_with_bias)
    return head_groups.map_groups(
      lambda states_NxD: head_groups.read_group(states_NxD, head),
      self.off_ramp(hidden_BxTxD),
    )

  def map_texts(self, function: Callable, arrays: tuple):
    return jax.lax.map(function, arrays)


class RoundedTableModel(CPUModel):
  """A float32 model whose arg-max is found with the token table in bfloat16."""

  def __init__(self, model: Elmer):
    super().__init__(model)
    self.rounded_table = bfloat16_argmax.RoundedTable(self.tokens[...])

  def predict(
    self, hidden_BxTxD: jax.Array, choose_with_bias: bool = True
  ) -> jax.Array:
    head = self.head(choose_with_bias)

    def predict_group(states_NxD: jax.Array) -> jax.Array:
      ids_N, is_exact = bfloat16_argmax.predict(states_NxD, head, self.rounded_table)
      return jax.lax.cond(
        is_exact,
        lambda: ids_N,
        lambda: head_groups.read_group(states_NxD, head).ids,
      )

    return head_groups.map_groups(predict_group, self.off_ramp(hidden_BxTxD))

  def ranking_head(self) -> Head:
    return super().ranking_head()._replace(table_VxD=self.rounded_table.table_VxD[...])
