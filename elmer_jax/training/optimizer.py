# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""AdamW, Adafactor or Muon with a warm-up schedule and clipping, from optax."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import optax
from absl import logging
from optax.contrib import MuonDimensionNumbers, muon

from elmer_jax.core.errors import UserError

NAMES = ("adamw", "adafactor", "muon")
SCHEDULES = ("cosine", "inverse_sqrt", "constant")
# Muon's updates get the root mean square that AdamW's usually have, so that one
# learning rate serves both (Liu et al., 2025, arXiv 2502.16982, section 2.2).
_MUON_RMS = 0.2


def make_optimizer(
  config: ml_collections.ConfigDict,
) -> tuple[optax.GradientTransformation, Callable[[jax.Array], jax.Array]]:
  """Returns the optimizer and its learning rate as a function of the step.

  Clipping acts once per step, on the gradient of the whole batch.

  Raises:
    UserError: the optimizer's or the schedule's name is unknown.
  """
  options = config.optimizer
  schedule = _schedule(config)
  if options.name not in NAMES:
    raise UserError(
      f"optimizer.name must be one of {', '.join(NAMES)}; not {options.name!r}"
    )
  make = {"adamw": _adamw, "adafactor": _adafactor, "muon": _muon}[options.name]
  update = make(options, schedule)
  if options.clip_norm <= 0:
    return update, schedule
  return optax.chain(optax.clip_by_global_norm(options.clip_norm), update), schedule


def _adamw(
  options: ml_collections.ConfigDict, schedule
) -> optax.GradientTransformation:
  return optax.adamw(
    schedule,
    b1=options.b1,
    b2=options.b2,
    eps=options.eps,
    weight_decay=options.weight_decay,
    mask=_is_matrix,
  )


def _adafactor(
  options: ml_collections.ConfigDict, schedule
) -> optax.GradientTransformation:
  """Adafactor: two vectors of state per matrix, and no momentum.

  Shazeer and Stern, 2018 (arXiv 1804.04235), with updates of a root mean square of at
  most 1 and without scaling by the parameter's size (as Zhai et al., 2021, arXiv
  2106.04560, section 3.4), so that learning rates are comparable to the others'.
  """
  return optax.chain(
    optax.scale_by_factored_rms(),
    optax.clip_by_block_rms(1.0),
    optax.add_decayed_weights(options.weight_decay, mask=_is_matrix),
    optax.scale_by_learning_rate(schedule),
  )


def _muon(options: ml_collections.ConfigDict, schedule) -> optax.GradientTransformation:
  """Muon for projections; tables, biases and norms get AdamW."""
  return muon(
    schedule,
    weight_decay=options.weight_decay,
    adam_b1=options.b1,
    adam_b2=options.b2,
    eps=options.eps,
    muon_weight_dimension_numbers=_projections,
    consistent_rms=_MUON_RMS,
  )


def _projections(params: dict) -> dict:
  """Returns the two matrix dimensions of each projection (stacked or not), or None."""

  def sides(path, leaf) -> MuonDimensionNumbers | None:
    if jax.tree_util.keystr(path[-1:], simple=True) != "kernel":
      return None
    return MuonDimensionNumbers(leaf.ndim - 2, leaf.ndim - 1)

  return jax.tree_util.tree_map_with_path(sides, params)


def _is_matrix(params: dict) -> dict:
  """Marks what weight decay applies to: projections and tables."""

  def decays(path, leaf) -> bool:
    name = jax.tree_util.keystr(path[-1:], simple=True)
    return name == "kernel" or (name in ("tokens", "positions") and leaf.ndim == 2)

  return jax.tree_util.tree_map_with_path(decays, params)


def warn_of_low_peak(config: ml_collections.ConfigDict) -> None:
  """Warns of a run that ends before its learning rate has reached the peak."""
  peak, warmup = config.optimizer.learning_rate, config.optimizer.warmup_steps
  steps = config.train.steps
  if steps < warmup:
    logging.warning(
      "the learning rate will not reach optimizer.learning_rate=%g: it ends at %.2g, "
      "since train.steps=%d is below optimizer.warmup_steps=%d",
      *(peak, peak * steps / warmup, steps, warmup),
    )


def _schedule(config: ml_collections.ConfigDict) -> Callable[[jax.Array], jax.Array]:
  options, steps = config.optimizer, config.train.steps
  peak, warmup = options.learning_rate, options.warmup_steps
  if options.schedule not in SCHEDULES:
    raise UserError(
      f"optimizer.schedule must be one of {', '.join(SCHEDULES)}; "
      f"not {options.schedule!r}"
    )

  def rate(step: jax.Array) -> jax.Array:
    step = jnp.asarray(step, jnp.float32)
    ramp = jnp.minimum(1.0, (step + 1) / max(warmup, 1))
    if options.schedule == "constant":
      return peak * ramp
    if options.schedule == "inverse_sqrt":
      late = jnp.maximum(step + 1, max(warmup, 1)) / max(warmup, 1)
      return peak * ramp * late**-0.5
    progress = jnp.clip((step - warmup) / max(steps - warmup, 1), 0.0, 1.0)
    wave = 0.5 * (1 + jnp.cos(jnp.pi * progress))
    floor = options.final_fraction
    return peak * ramp * (floor + (1 - floor) * wave)

  return rate
