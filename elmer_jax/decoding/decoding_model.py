# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters arranged once for decoding, and the model that reads them.

Every strategy takes a `DecodingParams` from `prepare` and calls `bind` inside its
jitted program. Which class the model has depends on the platform; their interface is
that of `LayerwiseModel`.
"""

import functools
from typing import NamedTuple

import jax
from flax import nnx

from elmer_jax.decoding.cpu import bfloat16_argmax
from elmer_jax.decoding.cpu.cpu_model import CPUModel, RoundedTableModel
from elmer_jax.decoding.layerwise_model import LayerwiseModel
from elmer_jax.model import elmer
from elmer_jax.model.config import ModelConfig


class DecodingParams(NamedTuple):
  """Parameters as the decoding model of this platform reads them."""

  arrays: dict  # nested dict


def prepare(config: ModelConfig, params: dict) -> DecodingParams:
  """Arranges parameters for decoding.

  Args:
    config: the model's sizes.
    params: nested dict of float32 arrays, which stays as it is; the layers' weights
      take their memory a second time.
  """
  return _arrange(config, choose_class(config), params)


def bind(config: ModelConfig, params: DecodingParams) -> LayerwiseModel:
  """Returns the model with these parameters; can be traced."""
  graph, abstract = _abstract(config, choose_class(config))
  state = jax.tree.map(lambda leaf: leaf, abstract)
  nnx.replace_by_pure_dict(state, params.arrays)
  return nnx.merge(graph, state)


def choose_class(config: ModelConfig) -> type[LayerwiseModel]:
  """Returns the class of the model on this platform."""
  if jax.default_backend() != "cpu":
    return LayerwiseModel
  if config.dtype == "float32" and bfloat16_argmax.is_supported():
    return RoundedTableModel
  return CPUModel


@functools.partial(jax.jit, static_argnums=(0, 1))
def _arrange(
  config: ModelConfig, model_class: type[LayerwiseModel], params: dict
) -> DecodingParams:
  model = model_class(elmer.bind(config, params))
  return DecodingParams(nnx.to_pure_dict(nnx.state(model)))


@functools.lru_cache
def _abstract(
  config: ModelConfig, model_class: type[LayerwiseModel]
) -> tuple[nnx.GraphDef, nnx.State]:
  def make() -> LayerwiseModel:
    return model_class(elmer.Elmer(config, rngs=nnx.Rngs(0)))

  return nnx.split(nnx.eval_shape(make))
