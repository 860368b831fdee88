# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Hugging Face BART's tensors as this model's parameters.

Their linear weights are [out, in] and one a layer; ours are [in, out] and stacked
[layers, in, out]. The token table is padded to our number of rows.
"""

from collections.abc import Mapping

import numpy as np

from elmer_jax.model.config import ModelConfig

_ATTENTION = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "out_proj"}
_FEED_FORWARD = {"widen": "fc1", "narrow": "fc2"}
# Our part of a layer, its kinds of tensors, and what BART calls it.
_ENCODER_PARTS = {
  "attention": {ours: f"self_attn.{name}" for ours, name in _ATTENTION.items()},
  "attention_join": {"norm": "self_attn_layer_norm"},
  "feed_forward": _FEED_FORWARD,
  "feed_forward_join": {"norm": "final_layer_norm"},
}
_DECODER_PARTS = _ENCODER_PARTS | {
  "cross_attention": {
    ours: f"encoder_attn.{name}" for ours, name in _ATTENTION.items()
  },
  "cross_attention_join": {"norm": "encoder_attn_layer_norm"},
}


def from_bart(tensors: Mapping[str, np.ndarray], config: ModelConfig) -> dict:
  """Returns our nested dict of float32 parameters for BART's named tensors."""
  rows = config.padded_vocabulary_size - config.vocabulary_size
  params = {
    "tokens": np.pad(tensors["model.shared.weight"], ((0, rows), (0, 0))),
    "logits_bias": np.pad(tensors["final_logits_bias"][0], (0, rows)),
    "encoder": _side(tensors, "encoder", config.encoder_layers, _ENCODER_PARTS),
    "decoder": _side(tensors, "decoder", config.decoder_layers, _DECODER_PARTS),
  }
  if config.soft_exit:
    params["soft_exit"] = {"kernel": tensors["concat_head.weight"].T}
  return params


def _side(tensors: Mapping, side: str, count: int, parts: dict) -> dict:
  def stacked(name: str, bart_name: str) -> dict:
    each = [
      _module(tensors, name, f"model.{side}.layers.{layer}.{bart_name}")
      for layer in range(count)
    ]
    return {key: np.stack([one[key] for one in each]) for key in each[0]}

  return {
    "embedding": {
      "positions": tensors[f"model.{side}.embed_positions.weight"],
      "norm": _module(tensors, "norm", f"model.{side}.layernorm_embedding"),
    },
    "layers": {
      part: {name: stacked(name, bart_name) for name, bart_name in names.items()}
      for part, names in parts.items()
    },
  }


def _module(tensors: Mapping, name: str, bart_name: str) -> dict:
  weight, bias = tensors[f"{bart_name}.weight"], tensors[f"{bart_name}.bias"]
  if name == "norm":
    return {"scale": weight, "bias": bias}
  return {"kernel": weight.T, "bias": bias}
