# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Decoding strategies of models trained with the objective `dag`."""

import dataclasses
from typing import ClassVar, Self

from elmer_jax.core.errors import UserError
from elmer_jax.decoding import dag_decoding, dag_search
from elmer_jax.decoding.dag_settings import LARGEST_SETTING
from elmer_jax.decoding.decoded import Decoded
from elmer_jax.decoding.strategy import Strategy, TrainedModel, require_objective


class _DagStrategy(Strategy):
  """One pass over the vertices, then a search for the path."""

  repeats_neighbours = False  # a path's next vertex depends on the one before
  search: ClassVar[dag_decoding.Search]
  length_exponent = 0.0
  pair_weight = 0.0

  def resolve(self, model: TrainedModel) -> Self:
    require_objective(self, model, ("dag",))
    return self

  def decode(
    self, model, source_ids_BxS, length, *, details=False, lengths_B=None
  ) -> Decoded:
    return dag_decoding.decode(
      model.config,
      model.decoding_params,
      source_ids_BxS,
      self.length_exponent,
      self.pair_weight,
      model.dag.pairs if self.pair_weight else None,
      length=length,
      options=model.dag.options,
      search=type(self).search,
      details=details,
    )


@dataclasses.dataclass(frozen=True)
class DagViterbi(_DagStrategy):
  """The path with the highest score / length^α.

  The score is the log-probability of the path, plus scores of neighbouring tokens from
  the training targets (`token_pairs`). By default both settings are the checkpoint's,
  fitted on validation data.

  Attributes:
    length_exponent: α.
    pair_weight: of the neighbours' scores; 0: the log-probability alone.
  """

  length_exponent: float | None = None
  pair_weight: float | None = None

  word = "viterbi"
  search = staticmethod(dag_search.viterbi)

  def resolve(self, model: TrainedModel) -> Self:
    super().resolve(model)
    settings = {}
    for name in ("length_exponent", "pair_weight"):
      value = getattr(self, name)
      if value is not None and not 0 <= value <= LARGEST_SETTING:
        raise UserError(f"{name}={value:g} must be between 0 and {LARGEST_SETTING:g}")
      settings[name] = getattr(model.dag, name) if value is None else value
    if self.pair_weight and model.dag.pairs is None:
      raise UserError(
        f"pair_weight={self.pair_weight:g}: this checkpoint has no token pairs"
      )
    return dataclasses.replace(self, **settings)


@dataclasses.dataclass(frozen=True)
class DagLookahead(_DagStrategy):
  """At each vertex the most likely pair of a transition and its token."""

  word = "lookahead"
  search = staticmethod(dag_search.lookahead)


@dataclasses.dataclass(frozen=True)
class DagGreedy(_DagStrategy):
  """At each vertex the most likely transition."""

  word = "greedy"
  search = staticmethod(dag_search.greedy)
