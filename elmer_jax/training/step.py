# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The training step and the evaluation step: pure, jitted, sharded.

Every random draw is a function of (seed, step, global row, layer). Keys are split with
the rows of a batch, so micro-batches and devices do not change the draws, and
checkpoints need no random state.

A step whose loss, gradient or update is not finite leaves parameters and optimizer
state as they are; only the step is counted.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import optax

from elmer_jax.checkpoints.train_state import TrainState
from elmer_jax.model import elmer, sharding_constraints
from elmer_jax.model.config import ModelConfig
from elmer_jax.objectives.objective import Objective, Sums
from elmer_jax.parallel import sharding
from elmer_jax.parallel.replication import limit_replication
from elmer_jax.tokenizer.special_ids import PAD_ID

TRAINING, EVALUATION = 0, 1  # streams of random keys


class Program(NamedTuple):
  """The jitted functions of a run, and what they expect."""

  init: Callable[[int], TrainState]  # seed → a new, sharded state
  # (state, batch, seed) → (state, metrics); donates the state
  train_step: Callable[..., tuple[TrainState, dict]]
  eval_step: Callable[..., Sums]  # (params, batch, seed, number of the batch)
  shardings: TrainState
  shapes: TrainState


def row_keys(seed, stream: int, step, rows: int) -> jax.Array:
  """Returns one key per row of the global batch [rows]."""
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
  """Defines the jitted functions for a mesh, without computing anything."""

  def init(seed) -> TrainState:
    params = elmer.initialise(model_config, seed)
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))

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
  shardings = TrainState(replicated, param_shardings, optimizer_shardings)
  limit_replication(mesh, shapes, shardings)

  def loss_and_grads(
    params: dict, step: jax.Array, batch: dict, keys_B: jax.Array
  ) -> tuple[dict, Sums]:
    def summed_loss(params):
      model = elmer.bind(model_config, params)
      sums = objective.loss(model, batch, keys_B, step, train=True)
      return sums.loss, sums

    grads, sums = jax.grad(summed_loss, has_aux=True)(params)
    return jax.lax.with_sharding_constraint(grads, param_shardings), sums

  def train_step(state: TrainState, batch: dict, seed) -> tuple[TrainState, dict]:
    keys_B = row_keys(seed, TRAINING, state.step, batch["target_ids"].shape[0])
    with placed:
      grads, sums = _accumulate(
        functools.partial(loss_and_grads, state.params, state.step),
        batch,
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
    sizes = metrics["loss"], metrics["gradient_norm"], optax.tree.norm(updates)
    is_finite = jnp.isfinite(jnp.stack(sizes)).all()
    params, opt_state = jax.tree.map(
      lambda new, old: jnp.where(is_finite, new, old),
      (params, opt_state),
      (state.params, state.opt_state),
    )
    metrics["is_finite"] = is_finite
    return TrainState(state.step + 1, params, opt_state), metrics

  def eval_step(params: dict, batch: dict, seed, number) -> Sums:
    keys_B = row_keys(seed, EVALUATION, number, batch["target_ids"].shape[0])
    with placed:
      return objective.evaluate(elmer.bind(model_config, params), batch, keys_B)

  return Program(
    init=jax.jit(init, out_shardings=shardings),
    train_step=jax.jit(
      train_step, donate_argnums=0, out_shardings=(shardings, replicated)
    ),
    eval_step=jax.jit(eval_step, out_shardings=replicated),
    shardings=shardings,
    shapes=shapes,
  )


def _accumulate(
  loss_and_grads: Callable[[dict, jax.Array], tuple[dict, Sums]],
  batch: dict,
  keys_B: jax.Array,
  steps: int,
) -> tuple[dict, Sums]:
  """Sums `loss_and_grads(batch, keys)` over `steps` micro-batches.

  Micro-batch m has rows m, m + steps, …, so that each device already holds its share of
  every micro-batch.
  """
  if steps == 1:
    return loss_and_grads(batch, keys_B)

  def split(array: jax.Array) -> jax.Array:
    rows = array.shape[0] // steps
    micro_batches = array.reshape(rows, steps, *array.shape[1:]).swapaxes(0, 1)
    return sharding_constraints.constrain(
      micro_batches, None, "batch", *(None,) * (array.ndim - 1)
    )

  def body(total, micro_batch):
    return jax.tree.map(jnp.add, total, loss_and_grads(*micro_batch)), None

  micro_batches = jax.tree.map(split, (batch, keys_B))
  first = jax.tree.map(lambda array: array[0], micro_batches)
  shapes = jax.eval_shape(loss_and_grads, *first)
  zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
  total, _ = jax.lax.scan(body, zeros, micro_batches)
  return total
