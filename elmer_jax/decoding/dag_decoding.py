# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""One-pass decoding of models trained with the objective `dag`.

The decoder predicts P = upsampling · T vertices; a search finds the path through them
that is the text (`dag_search`). All of it is one program on the device.

Common arguments:

  config          the model's sizes
  params          from `decoding_model.prepare`
  source_ids_BxS  int32 ids with BOS and EOS, padded with PAD
  length          T, the most tokens of a text, EOS included
  options         those that the model was trained with
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from elmer_jax.decoding import decoding_model, token_pairs
from elmer_jax.decoding.dag_search import Graph, Path
from elmer_jax.decoding.decoded import Decoded
from elmer_jax.decoding.decoding_model import DecodingParams
from elmer_jax.decoding.layerwise_model import LayerwiseModel
from elmer_jax.decoding.token_pairs import TokenPairs
from elmer_jax.model.config import ModelConfig
from elmer_jax.model.embedding import POSITION_OFFSET, look_up
from elmer_jax.objectives import dag
from elmer_jax.objectives.dag import DagOptions
from elmer_jax.tokenizer.special_ids import EOS_ID

Search = Callable[..., Path]  # of `dag_search`


@functools.partial(
  jax.jit, static_argnames=("config", "length", "options", "search", "details")
)
def decode(
  config: ModelConfig,
  params: DecodingParams,
  source_ids_BxS: jax.Array,
  length_exponent: jax.Array | float = 0.0,
  pair_weight: jax.Array | float = 0.0,
  pairs: TokenPairs | None = None,
  *,
  length: int,
  options: DagOptions,
  search: Search,
  details: bool = False,
) -> Decoded:
  """Predicts at most T tokens of each source; see the top of the file.

  Args:
    config, params, source_ids_BxS, length, options: see there.
    length_exponent: of the search, see `dag_search.viterbi`.
    pair_weight: of the pairs' scores.
    pairs: statistics of neighbouring tokens, see `token_pairs`; None: no part.
    search: a function of `dag_search`.
    details: whether to return every layer's predictions at the vertices of the path.
  """
  model = decoding_model.bind(config, params)
  hidden_BxPxD, by_layer_LxBxP = _run(model, source_ids_BxS, length, options, details)
  found = _read_graph(model, hidden_BxPxD)
  if pairs is not None:
    found = token_pairs.rescore(found, pairs, pair_weight, source_ids_BxS)
  path = search(found, length, length_exponent)
  if not details:
    return Decoded(path.ids_BxT)
  by_layer_LxBxT = jnp.take_along_axis(by_layer_LxBxP, path.vertices_BxT[None], axis=2)
  last = config.decoder_layers - 1
  return Decoded(
    path.ids_BxT,
    path.log_probability_BxT,
    jnp.full(path.ids_BxT.shape, last, jnp.int32),
    by_layer_LxBxT,
  )


@functools.partial(jax.jit, static_argnames=("config", "length", "options"))
def graph(
  config: ModelConfig,
  params: DecodingParams,
  source_ids_BxS: jax.Array,
  *,
  length: int,
  options: DagOptions,
) -> Graph:
  """Returns the graph of each source without a search; see the top of the file."""
  model = decoding_model.bind(config, params)
  hidden_BxPxD, _ = _run(model, source_ids_BxS, length, options, details=False)
  return _read_graph(model, hidden_BxPxD)


def _run(
  model: LayerwiseModel,
  source_ids_BxS: jax.Array,
  length: int,
  options: DagOptions,
  details: bool,
) -> tuple[jax.Array, jax.Array | None]:
  """Returns the last states [B, P, D] and, with details, predictions [L, B, P]."""
  count = dag.vertex_count(length, options.upsampling)
  encoded_BxSxD, mask_BxS = model.encode(source_ids_BxS)
  last = model.config.decoder_layers - 1

  def after_layer(index, hidden_BxPxD, carry):
    projects = options.exits == "soft" and index < last
    ids_BxP = model.predict(hidden_BxPxD) if details or projects else None
    if projects:
      hidden_BxPxD = model.project_prediction(hidden_BxPxD, ids_BxP)
    return hidden_BxPxD, carry, ids_BxP if details else None

  hidden_BxPxD, _, by_layer_LxBxP = model.decode(
    model.blank_target(len(source_ids_BxS), count),
    encoded_BxSxD,
    mask_BxS,
    after_layer=after_layer,
  )
  return hidden_BxPxD, by_layer_LxBxP


def _read_graph(model: LayerwiseModel, hidden_BxPxD: jax.Array) -> Graph:
  """Returns the graph of the decoder's last states."""
  states_BxPxD = model.off_ramp(hidden_BxPxD)
  prediction = model.read_head(hidden_BxPxD)
  eos_BxP = jnp.full(states_BxPxD.shape[:2], EOS_ID, jnp.int32)
  positions_PxD = jax.lax.dynamic_slice_in_dim(
    model.decoder.embedding.positions[...], POSITION_OFFSET, states_BxPxD.shape[1]
  )
  # log p(EOS) = log p(best) + logit(EOS) - logit(best): no second normaliser.
  difference_BxP = _logits(model, states_BxPxD, eos_BxP) - _logits(
    model, states_BxPxD, prediction.ids
  )
  return Graph(
    model.transitions(states_BxPxD, positions_PxD),
    prediction.ids,
    prediction.log_probability,
    prediction.log_probability + difference_BxP,
  )


def _logits(
  model: LayerwiseModel, states_BxPxD: jax.Array, ids_BxP: jax.Array
) -> jax.Array:
  """Returns the logit of one id at each vertex [B, P] float32."""
  head = model.head()
  rows_BxPxD = look_up(head.table_VxD, ids_BxP, head.table_VxD.dtype)
  products_BxP = jnp.einsum(
    "bpd,bpd->bp", states_BxPxD, rows_BxPxD, preferred_element_type=jnp.float32
  )
  return products_BxP + head.bias_V[ids_BxP]
