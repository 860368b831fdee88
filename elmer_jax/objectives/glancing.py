# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Glancing: some gold tokens are revealed, in proportion to the model's errors.

A first pass, without dropout and without a gradient, counts the wrong tokens of each
text. `ratio` times that count, rounded down, is the number of positions drawn for the
text; the second pass reads their gold tokens in place of MASK and is scored on the
others only. The ratio rises linearly from 0 during the first `ramp` steps.

Source: GLAT, Qian et al., 2021 (arXiv 2008.07905), where the ratio falls instead.

A worked row, with ratio 0.5 (3 of 5 tokens are wrong, so one is revealed):

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


class GlancingOptions(NamedTuple):
  """The glancing keys of `config.objective`."""

  ratio: float  # revealed positions per wrong token after the ramp; 0: no first pass
  ramp: int  # steps


NO_GLANCING = GlancingOptions(0.0, 0)


class Revealed(NamedTuple):
  """The decoder's input and targets after glancing."""

  decoder_ids_BxT: jax.Array  # int32
  targets_BxT: jax.Array  # int32, PAD where nothing is scored
  metrics: dict[str, jax.Array]  # "revealed": number of revealed positions


# (model, source) → is_correct [B, T] bool, the targets that the first pass predicts
FirstPass = Callable[[Elmer, Encoded], jax.Array]


def glance(
  model: Elmer,
  targets_BxT: jax.Array,
  encoded: Encoded,
  keys_B: jax.Array,
  step: jax.Array | int,
  options: GlancingOptions,
  first_pass: FirstPass | None = None,
) -> Revealed:
  """Returns the input and the targets of the pass that is trained.

  Args:
    model: the model.
    targets_BxT: int32.
    encoded: its sources.
    keys_B: one key per row.
    step: [] int32, completed steps.
    options: the ratio and its ramp.
    first_pass: the objective's own decoding; by default one pass without exits.
  """
  blank_BxT = model.blank_target(*targets_BxT.shape)
  if not options.ratio:
    return Revealed(blank_BxT, targets_BxT, {})
  real_BxT = targets_BxT != PAD_ID
  predict = first_pass or (lambda *frozen: _plain_pass(*frozen, targets_BxT))
  states_BxSxD = jax.lax.stop_gradient(encoded.states_BxSxD)
  is_correct_BxT = predict(
    _without_gradient(model), Encoded(states_BxSxD, encoded.mask_BxS, None)
  )
  progress = jnp.minimum(step / options.ramp, 1.0) if options.ramp else 1.0
  wrong_B = (real_BxT & ~is_correct_BxT).sum(-1)
  revealed_BxT = draw_revealed(keys_B, real_BxT, options.ratio * progress * wrong_B)
  return Revealed(
    jnp.where(revealed_BxT, targets_BxT, blank_BxT),
    jnp.where(revealed_BxT, PAD_ID, targets_BxT),
    {"revealed": revealed_BxT.sum().astype(jnp.float32)},
  )


def draw_revealed(
  keys_B: jax.Array, real_BxT: jax.Array, count_B: jax.Array
) -> jax.Array:
  """Draws `count_B`, rounded down, of the real positions of each row: bool [B, T]."""
  keys_B = layers.fold_in(keys_B, objective.GLANCING)
  shape = real_BxT.shape[1:]
  order_BxT = jax.vmap(lambda key: jax.random.uniform(key, shape))(keys_B)
  order_BxT = jnp.where(real_BxT, order_BxT, jnp.inf)
  rank_BxT = jnp.argsort(jnp.argsort(order_BxT, axis=-1), axis=-1)
  # The small term keeps a whole number whole where float32 rounds it down.
  return real_BxT & (rank_BxT < jnp.floor(count_B + 1e-4)[:, None])


def get_options(objective_options: ml_collections.ConfigDict) -> GlancingOptions:
  """Returns the glancing keys of `config.objective`.

  Raises:
    UserError: the ratio is not in [0, 1], or the ramp is negative.
  """
  ratio, ramp = objective_options.glancing, objective_options.glancing_ramp
  if not 0 <= ratio <= 1:
    raise UserError(f"objective.glancing must be from 0 to 1; it is {ratio}")
  if ramp < 0:
    raise UserError(f"objective.glancing_ramp must be 0 steps or more; it is {ramp}")
  return GlancingOptions(ratio, ramp)


def _plain_pass(model: Elmer, encoded: Encoded, targets_BxT: jax.Array) -> jax.Array:
  hidden_BxTxD, _, _ = model.decode(
    model.blank_target(*targets_BxT.shape), encoded.states_BxSxD, encoded.mask_BxS
  )
  return objective.read_off_ramp(model, hidden_BxTxD, targets_BxT).is_correct


def _without_gradient(model: Elmer) -> Elmer:
  """Returns the same model with parameters that receive no gradient."""
  graph, state = nnx.split(model)
  return nnx.merge(graph, jax.tree.map(jax.lax.stop_gradient, state))
