# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Decoding strategies of models trained with the objective `dag`."""

import dataclasses
from typing import ClassVar, Self

from elmer_jax.core.errors import UserError
from elmer_jax.decoding import dag_decoding, dag_search
from elmer_jax.decoding.decoded import Decoded
from elmer_jax.decoding.strategy import Strategy, TrainedModel, require_objective


class _DagStrategy(Strategy):
  """One pass over the vertices, then a search for the path."""

  repeats_neighbours = False  # a path's next vertex depends on the one before
  search: ClassVar[dag_decoding.Search]

  def resolve(self, model: TrainedModel) -> Self:
    require_objective(self, model, ("dag",))
    return self

  def decode(
    self, model, source_ids_BxS, length, *, details=False, lengths_B=None
  ) -> Decoded:
    count = round(model.dag.upsampling * length)
    if count > model.config.positions:
      raise UserError(
        f"target_length {length} needs {count} decoder positions, with upsampling "
        f"{model.dag.upsampling:g}; the model has {model.config.positions}"
      )
    return dag_decoding.decode(
      model.config,
      model.decoding_params,
      source_ids_BxS,
      self._length_exponent(),
      length=length,
      options=model.dag,
      search=type(self).search,
      details=details,
    )

  def _length_exponent(self) -> float:
    return 0.0


@dataclasses.dataclass(frozen=True)
class DagViterbi(_DagStrategy):
  """The path with the highest log-probability / length^α.

  Attributes:
    length_exponent: α; by default the checkpoint's, fitted on validation data.
  """

  length_exponent: float | None = None

  word = "viterbi"
  search = staticmethod(dag_search.viterbi)

  def resolve(self, model: TrainedModel) -> Self:
    super().resolve(model)
    if self.length_exponent is None:
      return dataclasses.replace(self, length_exponent=model.length_exponent)
    if not 0 <= self.length_exponent <= 5:
      raise UserError(
        f"length_exponent={self.length_exponent:g} must be between 0 and 5"
      )
    return self

  def _length_exponent(self) -> float:
    return self.length_exponent


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
