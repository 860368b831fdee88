# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A model with only its lowest decoder layers: static depth.

If every off-ramp was trained, the first k layers and the head are a complete model of
k/L the depth. It is the baseline of every gate.
"""

import dataclasses

import jax

from elmer_jax.core.errors import UserError
from elmer_jax.model.config import ModelConfig


def cut(config: ModelConfig, params: dict, depth: int) -> tuple[ModelConfig, dict]:
  """Returns sizes and parameters of the model with `depth` decoder layers.

  Raises:
    UserError: there are no such layers.
  """
  if not 1 <= depth <= config.decoder_layers:
    raise UserError(
      f"depth {depth} must lie between 1 and the model's {config.decoder_layers} "
      "decoder layers"
    )
  decoder = params["decoder"]
  layers = jax.tree.map(lambda leaf: leaf[:depth], decoder["layers"])
  return (
    dataclasses.replace(config, decoder_layers=depth),
    params | {"decoder": decoder | {"layers": layers}},
  )
