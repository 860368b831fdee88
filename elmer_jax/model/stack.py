# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Layers of one kind: stacked along a leading axis and run by one scan, or one by one.

The program of a scan does not grow with the number of layers; unrolled, 24+24 layers
compile 15 times slower. But a scan copies each layer's weights out of the stack, which
decoding, where a pass over the weights is much of the work, can't afford.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from elmer_jax.model.config import ModelConfig

# What each name of `config.REMAT` but "none" keeps of a layer for the backward pass.
_POLICIES = {
  "dots": jax.checkpoint_policies.dots_saveable,
  "projections": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  "layer": jax.checkpoint_policies.nothing_saveable,
}


def stack(
  make_layer: Callable[[nnx.Rngs], nnx.Module], count: int, rngs: nnx.Rngs
) -> nnx.Module:
  """Returns `count` layers as one module whose parameters are [count, ...]."""
  return nnx.split_rngs(splits=count)(nnx.vmap(make_layer))(rngs)


def scan_layers(
  layers: nnx.Module,
  step: Callable,
  carry,
  count: int,
  config: ModelConfig,
):
  """Runs `carry, output = step(layer, layer_index, carry)` from the lowest layer up.

  Returns:
    The last carry and the outputs, stacked [count, ...].
  """
  if isinstance(layers, nnx.List):
    return _one_by_one(layers, step, carry)
  graph, state = nnx.split(layers)

  def body(carry, inputs):
    layer_state, index = inputs
    return step(nnx.merge(graph, layer_state), index, carry)

  if config.remat != "none":
    body = jax.checkpoint(body, prevent_cse=False, policy=_POLICIES[config.remat])
  return jax.lax.scan(body, carry, (state, jnp.arange(count)))


def _one_by_one(layers: nnx.List, step: Callable, carry):
  outputs = []
  for index, layer in enumerate(layers):
    carry, output = step(layer, index, carry)
    outputs.append(output)
  return carry, jax.tree.map(lambda *each: jnp.stack(each), *outputs)


def unstack(layers: nnx.Module, count: int) -> nnx.List:
  """Returns the layers one by one, lowest first; those that are so already as they are.

  Inside a jitted function this copies the weights once a call; `elmer.for_decoding`
  does it once for all.
  """
  if isinstance(layers, nnx.List):
    return layers
  graph, state = nnx.split(layers)

  def layer(index: int) -> nnx.Module:
    return nnx.merge(graph, jax.tree.map(lambda leaf: leaf[index], state))

  return nnx.List([layer(index) for index in range(count)])


def run_one(layers: nnx.List, index: jax.Array, *inputs) -> jax.Array:
  """Runs the layer of a number that is known only while the program runs.

  Of layers that are one by one: each is a branch that reads its weights where they
  lie, while an index into a stack would copy them.
  """
  branches = [
    lambda *inputs, layer=layer: layer(*inputs)  # a module is no function to JAX
    for layer in layers
  ]
  return jax.lax.switch(index, branches, *inputs)
