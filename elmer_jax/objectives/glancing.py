# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Glancing: some positions are told, as many as the model's error calls for.

A first pass, without dropout and without a gradient, shows at how many of its tokens a
text is wrong. So many times `ratio`, rounded down, are drawn among its positions; the
second pass reads their gold tokens in place of MASK and is scored on the others. What
is told is never scored. The ratio rises from 0 over the first `ramp` updates and stays.

Source: GLAT, Qian et al., 2021 (arXiv 2008.07905), where the ratio falls instead.

A worked row, with ratio 0.5 (3 of 5 tokens are wrong, so one is told):

    target           the    cat   sat   down  EOS   PAD
    first pass       the    the   the   down  down  …
    decoder input    BOS    MASK  sat   MASK  MASK  MASK
    scored           yes    yes   no    yes   yes   no
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
from flax import nnx

from elmer_jax.core.errors import UserError
from elmer_jax.model import layers
from elmer_jax.model.elmer import Elmer
from elmer_jax.objectives import objective
from elmer_jax.objectives.objective import Encoded
from elmer_jax.tokenizer.special_ids import PAD_ID


class Glancing(NamedTuple):
  """How much is told; as in `config.objective`."""

  ratio: float  # of the wrong tokens, at the end of the ramp; 0: no first pass at all
  ramp: int  # updates


NO_GLANCING = Glancing(0.0, 0)


class Told(NamedTuple):
  """What the second pass reads, and what it is scored on."""

  decoder_ids_BxT: jax.Array  # int32
  targets_BxT: jax.Array  # int32, PAD where nothing is scored
  metrics: dict[str, jax.Array]  # "revealed": positions told, beside each scored one


# (model, source) → is_correct [B, T] bool: at which targets a first pass is right
FirstPass = Callable[[Elmer, Encoded], jax.Array]


def glance(
  model: Elmer,
  batch: dict,
  encoded: Encoded,
  keys_B: jax.Array,
  options: Glancing,
  first_pass: FirstPass | None = None,
) -> Told:
  """Returns the input and the targets of the pass that is trained.

  Args:
    model: the model.
    batch: `target_ids` [B, T] and `update` [B] int32, how many were made before.
    encoded: its sources.
    keys_B: one key a row.
    options: how much is told.
    first_pass: how the objective's own decoding would fare; by default plain.
  """
  targets_BxT = batch["target_ids"]
  blank_BxT = model.blank_target(*targets_BxT.shape)
  if not options.ratio:
    return Told(blank_BxT, targets_BxT, {})
  real_BxT = targets_BxT != PAD_ID
  guess = first_pass or (lambda *frozen: _plain_pass(*frozen, targets_BxT))
  states_BxSxD = jax.lax.stop_gradient(encoded.states_BxSxD)
  is_correct_BxT = guess(_frozen(model), Encoded(states_BxSxD, encoded.mask_BxS, None))
  progress_B = jnp.minimum(batch["update"] / max(options.ramp, 1), 1.0)
  if not options.ramp:
    progress_B = jnp.ones_like(progress_B)
  wrong_B = (real_BxT & ~is_correct_BxT).sum(-1)
  revealed_BxT = draw(keys_B, real_BxT, options.ratio * progress_B * wrong_B)
  return Told(
    jnp.where(revealed_BxT, targets_BxT, blank_BxT),
    jnp.where(revealed_BxT, PAD_ID, targets_BxT),
    {"revealed": revealed_BxT.sum().astype(jnp.float32)},
  )


def draw(keys_B: jax.Array, real_BxT: jax.Array, count_B: jax.Array) -> jax.Array:
  """Returns bool [B, T], `count_B` rounded down of the real positions of each row."""
  keys_B = layers.fold_in(keys_B, objective.GLANCING)
  shape = real_BxT.shape[1:]
  order_BxT = jax.vmap(lambda key: jax.random.uniform(key, shape))(keys_B)
  order_BxT = jnp.where(real_BxT, order_BxT, jnp.inf)
  rank_BxT = jnp.argsort(jnp.argsort(order_BxT, axis=-1), axis=-1)
  # What rounding took from a whole number is given back.
  return real_BxT & (rank_BxT < jnp.floor(count_B + 1e-4)[:, None])


def options_of(objective_options: ml_collections.ConfigDict) -> Glancing:
  """Reads `config.objective`.

  Raises:
    UserError: the ratio is no share, or the ramp is negative.
  """
  ratio, ramp = objective_options.glancing, objective_options.glancing_ramp
  if not 0 <= ratio <= 1:
    raise UserError(f"objective.glancing is a share, 0 to 1; it is {ratio}")
  if ramp < 0:
    raise UserError(f"objective.glancing_ramp is 0 updates or more; it is {ramp}")
  return Glancing(ratio, ramp)


def _plain_pass(model: Elmer, encoded: Encoded, targets_BxT: jax.Array) -> jax.Array:
  hidden_BxTxD, _, _ = model.decode(
    model.blank_target(*targets_BxT.shape), encoded.states_BxSxD, encoded.mask_BxS
  )
  return objective.read_off_ramp(model, hidden_BxTxD, targets_BxT).is_correct


def _frozen(model: Elmer) -> Elmer:
  """Returns the same model, of which nothing learns."""
  graph, state = nnx.split(model)
  return nnx.merge(graph, jax.tree.map(jax.lax.stop_gradient, state))
