# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Directed acyclic decoder: a text is a path through more positions than it has tokens.

The decoder predicts P = upsampling · T vertices, each with a distribution over tokens
and over its successors (`model.transitions`); the loss is -log of the sum over all
paths that emit the target, EOS included (`dag_paths`). So alternatives of a text lie on
different paths and do not mix position by position. Source: DA-Transformer, Huang et
al., ICML 2022 (arXiv 2205.07459).

ELMER on the graph: every decoder layer has an off-ramp to tokens and transitions.
`exits` says what happens between the layers:

  none    nothing
  soft    as in `soft_exit`, each layer adds the embedding of its most likely tokens
  copies  as in `lplm`, each vertex draws an exit layer and is copied upward from there

`layer_loss` adds the mean loss of the lower layers, with that weight.

A worked row with T = 4, upsampling 2; the path visits the vertices with a token:

    target         the  cat  sat  EOS
    decoder input  BOS  MASK MASK MASK MASK MASK MASK MASK
    one path       the   -   cat   -    -   sat  EOS   -
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections

from elmer_jax.core.errors import UserError
from elmer_jax.model import layers
from elmer_jax.model.elmer import Elmer
from elmer_jax.model.embedding import POSITION_OFFSET, look_up
from elmer_jax.objectives import dag_paths, lplm, objective, soft_exit
from elmer_jax.objectives.linear_cross_entropy import HeadOutput
from elmer_jax.objectives.objective import Objective, Sums
from elmer_jax.tokenizer.special_ids import EOS_ID, PAD_ID

EXITS = ("none", "soft", "copies")


class DagOptions(NamedTuple):
  """Options of the objective, as in `config.objective`."""

  upsampling: float  # vertices a target position
  exits: str = "none"  # one of EXITS
  layer_loss: float = 0.0  # weight of the mean loss of the lower layers


class Vertices(NamedTuple):
  """Predictions at P vertices after one decoder layer."""

  transitions_BxWxP: jax.Array  # log-probabilities, see `model.transitions`
  head: HeadOutput  # [B, P] each; its `nll` is that of EOS


def vertex_count(target_length: int, upsampling: float) -> int:
  """Returns P for T target positions."""
  return round(upsampling * target_length)


def read_vertices(model: Elmer, states_BxPxD: jax.Array) -> Vertices:
  """Applies head and transitions to states as the head reads them."""
  count = states_BxPxD.shape[1]
  positions_PxD = jax.lax.dynamic_slice_in_dim(
    model.decoder.embedding.positions[...], POSITION_OFFSET, count
  )
  eos_BxP = jnp.full(states_BxPxD.shape[:2], EOS_ID, jnp.int32)
  return Vertices(
    model.transitions(states_BxPxD, positions_PxD),
    objective.read_head(model, states_BxPxD, eos_BxP),
  )


def token_log_probabilities(
  model: Elmer, states_BxPxD: jax.Array, head_output: HeadOutput, ids_BxN: jax.Array
) -> jax.Array:
  """Returns log p(id n | vertex p) [B, P, N] float32 without the logits of other ids.

  The normaliser is that of the chunked head: nll(EOS) plus the logit of EOS.
  """
  head = model.head()

  def logits(ids: jax.Array, form: str) -> jax.Array:
    rows = look_up(model.tokens[...], ids, head.table_VxD.dtype)
    products = jnp.einsum(form, states_BxPxD, rows, preferred_element_type=jnp.float32)
    return products + head.bias_V[ids][:, None]

  eos_BxPx1 = logits(jnp.full((len(ids_BxN), 1), EOS_ID, jnp.int32), "bpd,bnd->bpn")
  normaliser_BxP = head_output.nll + eos_BxPx1[..., 0]
  return logits(ids_BxN, "bpd,bnd->bpn") - normaliser_BxP[..., None]


def negative_log_likelihood(
  model: Elmer, states_BxPxD: jax.Array, targets_BxT: jax.Array
) -> tuple[jax.Array, Vertices, jax.Array]:
  """Returns -log p(target) [B] in nats, the vertices, and the emissions [B, P, T]."""
  vertices = read_vertices(model, states_BxPxD)
  emissions_BxPxT = token_log_probabilities(
    model, states_BxPxD, vertices.head, targets_BxT
  )
  lengths_B = (targets_BxT != PAD_ID).sum(-1)
  likelihood_B = dag_paths.log_likelihood(
    vertices.transitions_BxWxP, emissions_BxPxT, lengths_B
  )
  # Rows without a target, as the last batch of an evaluation has, do not count.
  nll_B = jnp.where(lengths_B > 0, -likelihood_B, 0.0)
  return nll_B, vertices, emissions_BxPxT


def loss(
  model: Elmer,
  batch: dict,
  keys_B: jax.Array,
  step: jax.Array | int,
  train: bool,
  *,
  options: DagOptions,
) -> Sums:
  """Sums -log p(target), divided by no length; see `objective.Loss`.

  Args:
    model, batch, keys_B, step, train: see `objective.Loss`.
    options: the options of the objective.
  """
  del step
  targets_BxT = batch["target_ids"]
  tokens = (targets_BxT != PAD_ID).sum().astype(jnp.float32)
  read = _every_layer if options.layer_loss and train else _last_layer
  nll = read(model, batch, keys_B, train, options)
  return Sums(nll, tokens, {})


def _last_layer(
  model: Elmer, batch: dict, keys_B: jax.Array, train: bool, options: DagOptions
) -> jax.Array:
  """Returns the sum of the losses at the last layer, or at the exit layers drawn."""
  hidden_BxPxD, _ = _decode(model, batch, keys_B, train, options)
  states_BxPxD = model.decoder.off_ramp(hidden_BxPxD)
  return negative_log_likelihood(model, states_BxPxD, batch["target_ids"])[0].sum()


def _every_layer(
  model: Elmer, batch: dict, keys_B: jax.Array, train: bool, options: DagOptions
) -> jax.Array:
  """Returns the last layer's loss plus the weighted mean of the lower layers'."""

  def read(states_BxPxD: jax.Array) -> jax.Array:
    return negative_log_likelihood(model, states_BxPxD, batch["target_ids"])[0].sum()

  _, nll_L = _decode(model, batch, keys_B, train, options, read)
  lower = nll_L[:-1].mean() if len(nll_L) > 1 else 0.0
  return nll_L[-1] + options.layer_loss * lower


def _decode(
  model: Elmer,
  batch: dict,
  keys_B: jax.Array,
  train: bool,
  options: DagOptions,
  read: Callable[[jax.Array], object] | None = None,
) -> tuple[jax.Array, object]:
  """Runs the decoder over P vertices.

  Returns:
    The states [B, P, D] to be read at the end (the exit states with "copies"), and
    what `read` returns for the states after every layer, stacked.
  """
  encoded = objective.encode(model, batch, keys_B, train)
  batch_size, length = batch["target_ids"].shape
  count = vertex_count(length, options.upsampling)
  between = between_layers(model, options.exits, keys_B, (batch_size, count))

  def after_layer(index, hidden_BxPxD, carry):
    found = None
    if read is not None:
      found = read(model.decoder.off_ramp(hidden_BxPxD))
    hidden_BxPxD, carry, _ = between(index, hidden_BxPxD, carry)
    return hidden_BxPxD, carry, found

  shape = (batch_size, count, model.config.d_model)
  hidden_BxPxD, exit_BxPxD, found = model.decode(
    model.blank_target(batch_size, count),
    encoded.states_BxSxD,
    encoded.mask_BxS,
    keys_B=encoded.keys_B,
    after_layer=after_layer,
    carry=jnp.zeros(shape, encoded.states_BxSxD.dtype),
  )
  return exit_BxPxD if options.exits == "copies" else hidden_BxPxD, found


def between_layers(
  model: Elmer, exits: str, keys_B: jax.Array, shape: tuple[int, int]
) -> Callable:
  """Returns the function that runs after each decoder layer (`decoder.AfterLayer`).

  Args:
    model: the model, with the soft-exit projection for "soft".
    exits: one of EXITS.
    keys_B: one random key per row, for the exit layers of "copies".
    shape: (B, P).
  """
  count = model.config.decoder_layers
  if exits == "copies":
    exit_layers_BxP = lplm.draw_exit_layers(
      layers.fold_in(keys_B, objective.EXIT_LAYERS), shape[1], count
    )
    return lplm.copy_exited(exit_layers_BxP)
  if exits == "none":
    return lambda index, hidden_BxPxD, carry: (hidden_BxPxD, carry, None)
  unknown_BxP = jnp.full(shape, EOS_ID, jnp.int32)

  def add_predictions(index, hidden_BxPxD, carry):
    output = objective.read_off_ramp(model, hidden_BxPxD, unknown_BxP)
    projected_BxPxD = soft_exit.project(model, hidden_BxPxD, output.prediction)
    is_last = index == count - 1
    return jnp.where(is_last, hidden_BxPxD, projected_BxPxD), carry, None

  return add_predictions


def evaluate(
  model: Elmer, batch: dict, keys_B: jax.Array, *, options: DagOptions
) -> Sums:
  """Adds each layer's loss, and its accuracy at the vertices of the best path."""
  targets_BxT = batch["target_ids"]
  lengths_B = (targets_BxT != PAD_ID).sum(-1)

  def read(states_BxPxD: jax.Array) -> tuple[jax.Array, jax.Array]:
    nll_B, vertices, emissions_BxPxT = negative_log_likelihood(
      model, states_BxPxD, targets_BxT
    )
    aligned_BxP = dag_paths.best_alignment(
      vertices.transitions_BxWxP, emissions_BxPxT, lengths_B
    )
    labels_BxP = jnp.take_along_axis(targets_BxT, jnp.maximum(aligned_BxP, 0), 1)
    is_correct_BxP = (vertices.head.prediction == labels_BxP) & (aligned_BxP >= 0)
    is_correct_BxP &= (lengths_B > 0)[:, None]
    return nll_B.sum(), is_correct_BxP.sum().astype(jnp.float32)

  sums = loss(model, batch, keys_B, 0, False, options=options)
  # Without draws: all vertices run through all layers.
  plain = options._replace(exits="none") if options.exits == "copies" else options
  _, (nll_L, correct_L) = _decode(model, batch, keys_B, False, plain, read)
  metrics = objective.layer_metrics(nll_L, correct_L) | {"accuracy": correct_L[-1]}
  return sums._replace(metrics=metrics)


def get_options(options: Mapping[str, object]) -> DagOptions:
  """Returns the options in `config.objective`, or in a checkpoint's metadata.

  Raises:
    UserError: `exits` is unknown.
  """
  found = DagOptions(options["upsampling"], options["exits"], options["layer_loss"])
  if found.exits not in EXITS:
    raise UserError(
      f"objective.exits must be one of {', '.join(EXITS)}; not {found.exits!r}"
    )
  return found


def make(options: ml_collections.ConfigDict) -> Objective:
  """Returns the objective for `config.objective`; raises as `get_options`."""
  chosen = get_options(options)
  return Objective(
    functools.partial(loss, options=chosen), functools.partial(evaluate, options=chosen)
  )
