# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The training step and the evaluation step: pure, jitted, sharded.

Every random draw is a function of (seed, step, global row, layer): a row's key goes
with it through micro-batches and devices, so the split of a batch changes nothing, and
nothing random has to be saved.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import optax

from elmer_jax.checkpoints.train_state import State
from elmer_jax.model import elmer, sharding_constraints
from elmer_jax.model.config import ModelConfig
from elmer_jax.objectives.objective import Objective, Sums
from elmer_jax.parallel import sharding
from elmer_jax.parallel.replication import limit_replication
from elmer_jax.tokenizer.special_ids import PAD_ID

TRAINING, EVALUATION = 0, 1  # streams of keys


class Program(NamedTuple):
  """The compiled parts of a run."""

  init: Callable[[int], State]  # seed → a fresh, sharded state
  train: Callable[..., tuple[State, dict]]  # (state, batch, seed); donates the state
  evaluate: Callable[..., Sums]  # (params, batch, seed, number of the batch)
  shardings: State  # of a state
  shapes: State  # of a state


def row_keys(seed, stream: int, step, rows: int) -> jax.Array:
  """Returns one key a row of the global batch [rows]."""
  key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), stream), step)
  return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(rows))


def make_program(
  model_config: ModelConfig,
  objective: Objective,
  optimizer: optax.GradientTransformation,
  schedule: Callable[[jax.Array], jax.Array],
  mesh: jax.sharding.Mesh,
  config: ml_collections.ConfigDict,
) -> Program:
  """Builds the jitted functions for a mesh; nothing is computed yet."""

  def init(seed) -> State:
    params = elmer.initialise(model_config, seed)
    return State(jnp.zeros((), jnp.int32), params, optimizer.init(params))

  shapes = jax.eval_shape(init, 0)
  rules = sharding.make_sharding_rules(config, mesh)
  sharding.check_heads(rules, model_config)
  axes = elmer.logical_axes(model_config)
  param_shardings = sharding.param_shardings(rules, axes, shapes.params)
  replicated = sharding.replicated(mesh)
  placed = sharding_constraints.current(rules if mesh.size > 1 else None)
  optimizer_shardings = sharding.optimizer_shardings(
    mesh, shapes.opt_state, shapes.params, param_shardings
  )
  shardings = State(replicated, param_shardings, optimizer_shardings)
  limit_replication(mesh, shapes, shardings)

  def gradients(params: dict, batch: dict, keys_B: jax.Array) -> tuple[dict, Sums]:
    def summed_loss(params):
      sums = objective.loss(elmer.bind(model_config, params), batch, keys_B, True)
      return sums.loss, sums

    grads, sums = jax.grad(summed_loss, has_aux=True)(params)
    return jax.lax.with_sharding_constraint(grads, param_shardings), sums

  def train(state: State, batch: dict, seed) -> tuple[State, dict]:
    keys_B = row_keys(seed, TRAINING, state.step, batch["target_ids"].shape[0])
    batch_with_update = batch | {"update": jnp.full(keys_B.shape, state.step)}
    with placed:
      grads, sums = _accumulate(
        gradients,
        state.params,
        batch_with_update,
        keys_B,
        config.train.grad_accumulation_steps,
      )
    grads = jax.tree.map(lambda g: g / sums.tokens, grads)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics = {
      "loss": sums.loss / sums.tokens,
      **{name: value / sums.tokens for name, value in sums.metrics.items()},
      "learning_rate": schedule(state.step),
      "gradient_norm": optax.tree.norm(grads),
      "tokens": sum((ids != PAD_ID).sum() for ids in batch.values()),
    }
    return State(state.step + 1, params, opt_state), metrics

  def evaluate(params: dict, batch: dict, seed, number) -> Sums:
    keys_B = row_keys(seed, EVALUATION, number, batch["target_ids"].shape[0])
    with placed:
      return objective.evaluate(elmer.bind(model_config, params), batch, keys_B)

  return Program(
    init=jax.jit(init, out_shardings=shardings),
    train=jax.jit(train, donate_argnums=0, out_shardings=(shardings, replicated)),
    evaluate=jax.jit(evaluate, out_shardings=replicated),
    shardings=shardings,
    shapes=shapes,
  )


def _accumulate(
  gradients: Callable, params: dict, batch: dict, keys_B: jax.Array, parts: int
) -> tuple[dict, Sums]:
  """Adds gradients and sums over micro-batches.

  Micro-batch m takes rows m, m + parts, …, so that each device finds its share of
  every micro-batch among the rows it already holds.
  """
  if parts == 1:
    return gradients(params, batch, keys_B)

  def split(array: jax.Array) -> jax.Array:
    rows = array.shape[0] // parts
    micros = array.reshape(rows, parts, *array.shape[1:]).swapaxes(0, 1)
    return sharding_constraints.constrain(
      micros, None, "batch", *(None,) * (array.ndim - 1)
    )

  def body(total, micro):
    part = gradients(params, *micro)
    return jax.tree.map(jnp.add, total, part), None

  micros = jax.tree.map(split, (batch, keys_B))
  first = jax.tree.map(lambda array: array[0], micros)
  shapes = jax.eval_shape(gradients, params, *first)
  zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
  total, _ = jax.lax.scan(body, zeros, micros)
  return total
