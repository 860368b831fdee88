# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of decoding strategies, and of the models that they decode with."""

import abc
from typing import Protocol, Self

import jax
import numpy as np

from elmer_jax.core.errors import UserError
from elmer_jax.decoding.dag_settings import DagSettings
from elmer_jax.decoding.decoded import Decoded
from elmer_jax.decoding.decoding_model import DecodingParams
from elmer_jax.decoding.gate import gate_file
from elmer_jax.decoding.incremental import Search
from elmer_jax.model.config import ModelConfig

# Objectives whose every off-ramp is trained to be read without changing the state.
OFF_RAMP_OBJECTIVES = ("lplm", "hard_exit", "last_layer", "masked_diffusion")


class TrainedModel(Protocol):
  """What a strategy needs of a model; `generation.model.Model` is one."""

  config: ModelConfig
  params: dict
  objective: str  # the one it was trained with
  search: Search  # the settings that an autoregressive checkpoint came with
  exit_threshold: float  # of hard exit, from the checkpoint's configuration, in nats
  gate: gate_file.Calibrated | None
  dag: DagSettings | None  # of a model trained with the objective `dag`

  @property
  def decoding_params(self) -> DecodingParams: ...

  def at_depth(self, layers: int) -> Self: ...


class Strategy(abc.ABC):
  """How target ids are predicted from source ids."""

  word: str  # its name on the command line
  accepts_lengths = False  # whether `decode` takes the references' lengths
  # Whether neighbouring positions are predicted without knowing of each other, so that
  # equal neighbours are removed from texts by default.
  repeats_neighbours = True

  @abc.abstractmethod
  def resolve(self, model: TrainedModel) -> Self:
    """Returns the strategy with the model's own settings in place of None.

    Raises:
      UserError: the model was not trained for it, or a setting is out of range.
    """

  @abc.abstractmethod
  def decode(
    self,
    model: TrainedModel,
    source_ids_BxS: np.ndarray | jax.Array,
    length: int,
    *,
    details: bool = False,
    lengths_B: np.ndarray | None = None,
  ) -> Decoded:
    """Predicts at most `length` tokens for each source.

    Args:
      model: one that the strategy was resolved for.
      source_ids_BxS: int32 ids with BOS and EOS, padded with PAD.
      length: target positions T.
      details: whether to compute more than ids, which costs more applications of the
        output head.
      lengths_B: int32, the references' lengths with EOS, for comparison with published
        scores only.
    """


def require_objective(
  strategy: Strategy, model: TrainedModel, objectives: tuple[str, ...]
) -> None:
  """Raises `UserError` for a strategy that a checkpoint was not trained for.

  Layers trained with the soft-exit projection mean nothing without it, and copied
  states mean something only to layers that were trained among them.
  """
  if model.objective not in objectives:
    raise UserError(
      f"exit={strategy.word} does not fit this checkpoint: it was trained with "
      f"objective {model.objective}, use {_fitting(model.objective)}"
    )


def _fitting(objective: str) -> str:
  words = {
    "soft_exit": ("exit=soft",),
    "hard_exit": ("exit=hard", "exit=none"),
    "lplm": ("exit=none", "exit=hard"),
    "last_layer": ("exit=none",),
    "masked_diffusion": ("exit=mask_predict", "exit=none"),
    "dag": ("exit=viterbi", "exit=lookahead", "exit=greedy"),
  }.get(objective, ("no exit, but beams",))
  return " or ".join(words)
