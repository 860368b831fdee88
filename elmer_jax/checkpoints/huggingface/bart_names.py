# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Hugging Face BART's tensors as this model's parameters, and back.

Their linear weights are [out, in] and one a layer; ours are [in, out] and stacked
[layers, in, out]. The token table is padded to our number of rows.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from elmer_jax.model.config import ModelConfig
from elmer_jax.model.embedding import POSITION_OFFSET

_ATTENTION = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "out_proj"}
_FEED_FORWARD = {"up_proj": "fc1", "down_proj": "fc2"}
# Our parts of a layer and their modules, with BART's names of the modules.
_ENCODER_PARTS = {
  "attention": {ours: f"self_attn.{name}" for ours, name in _ATTENTION.items()},
  "attention_residual": {"norm": "self_attn_layer_norm"},
  "feed_forward": _FEED_FORWARD,
  "feed_forward_residual": {"norm": "final_layer_norm"},
}
_DECODER_PARTS = _ENCODER_PARTS | {
  "cross_attention": {
    ours: f"encoder_attn.{name}" for ours, name in _ATTENTION.items()
  },
  "cross_attention_residual": {"norm": "encoder_attn_layer_norm"},
}
_SIDES = {"encoder": _ENCODER_PARTS, "decoder": _DECODER_PARTS}

TABLE, BIAS, PROJECTION = (
  "model.shared.weight",
  "final_logits_bias",
  "concat_head.weight",
)
# Other names of the tied token table, which some files store again.
TIED = (
  "model.encoder.embed_tokens.weight",
  "model.decoder.embed_tokens.weight",
  "lm_head.weight",
)


def from_bart(read: Callable[[str], np.ndarray], config: ModelConfig) -> dict:
  """Returns our nested dict of parameters; `read` returns a tensor by BART's name."""
  rows = config.padded_vocabulary_size - config.vocabulary_size
  params = {
    "tokens": np.pad(read(TABLE), ((0, rows), (0, 0))),
    "logits_bias": np.pad(read(BIAS)[0], (0, rows)),
  }
  for side, parts in _SIDES.items():
    params[side] = _side(read, side, _layers(config, side), parts)
  if config.soft_exit:
    params["soft_exit"] = {"kernel": read(PROJECTION).T}
  return params


def _side(read: Callable, side: str, count: int, parts: dict) -> dict:
  def stacked(name: str, bart_name: str) -> dict:
    each = [
      _module(read, name, f"model.{side}.layers.{layer}.{bart_name}")
      for layer in range(count)
    ]
    return {key: np.stack([one[key] for one in each]) for key in each[0]}

  return {
    "embedding": {
      "positions": read(f"model.{side}.embed_positions.weight"),
      "norm": _module(read, "norm", f"model.{side}.layernorm_embedding"),
    },
    "layers": {
      part: {name: stacked(name, bart_name) for name, bart_name in names.items()}
      for part, names in parts.items()
    },
  }


def _module(read: Callable, name: str, bart_name: str) -> dict:
  weight, bias = read(f"{bart_name}.weight"), read(f"{bart_name}.bias")
  if name == "norm":
    return {"scale": weight, "bias": bias}
  return {"kernel": weight.T, "bias": bias}


def to_bart(params: Mapping, config: ModelConfig) -> dict[str, np.ndarray]:
  """Returns views of our parameters under BART's names, the token table once."""
  size = config.vocabulary_size
  tensors = {TABLE: params["tokens"][:size], BIAS: params["logits_bias"][None, :size]}
  for side, parts in _SIDES.items():
    ours = params[side]
    tensors[f"model.{side}.embed_positions.weight"] = ours["embedding"]["positions"]
    tensors |= _tensors(
      f"model.{side}.layernorm_embedding", ours["embedding"]["norm"], ...
    )
    for layer in range(_layers(config, side)):
      for part, name, bart_name in _names(parts):
        tensors |= _tensors(
          f"model.{side}.layers.{layer}.{bart_name}", ours["layers"][part][name], layer
        )
  if config.soft_exit:
    tensors[PROJECTION] = params["soft_exit"]["kernel"].T
  return tensors


def _tensors(bart_name: str, module: Mapping, layer) -> dict[str, np.ndarray]:
  """Returns weight and bias of a module, or of one layer of stacked ones."""
  weight = module["scale"][layer] if "scale" in module else module["kernel"][layer].T
  return {f"{bart_name}.weight": weight, f"{bart_name}.bias": module["bias"][layer]}


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
  """Returns the shape of every tensor in BART's files, by name."""
  width, size = config.d_model, config.vocabulary_size
  found = {TABLE: (size, width), BIAS: (1, size)}
  for side, parts in _SIDES.items():
    found[f"model.{side}.embed_positions.weight"] = (
      config.positions + POSITION_OFFSET,
      width,
    )
    names = [(f"model.{side}.layernorm_embedding", "norm")]
    for layer in range(_layers(config, side)):
      for _, name, bart_name in _names(parts):
        names.append((f"model.{side}.layers.{layer}.{bart_name}", name))
    inner = getattr(config, f"{side}_feed_forward")
    shapes_of = {
      "norm": (width,),
      "up_proj": (inner, width),
      "down_proj": (width, inner),
    }
    for bart_name, name in names:
      weight = shapes_of.get(name, (width, width))
      found[f"{bart_name}.weight"], found[f"{bart_name}.bias"] = weight, weight[:1]
  if config.soft_exit:
    found[PROJECTION] = (width, 2 * width)
  return found


def _layers(config: ModelConfig, side: str) -> int:
  return getattr(config, f"{side}_layers")


def _names(parts: Mapping) -> Iterator[tuple[str, str, str]]:
  for part, names in parts.items():
    for name, bart_name in names.items():
      yield part, name, bart_name
