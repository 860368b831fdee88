# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Decoding strategies: how a trained model turns source ids into target ids.

A strategy is a frozen, hashable dataclass with the settings that it needs. `resolve`
checks it against a model and fills in the checkpoint's own settings; `decode` runs it.
All strategies return `decoded.Decoded`.

  NoExit          all decoder layers, one head
  SoftExit        every layer adds the embedding of its prediction to the next one
  HardExit        a token exits at the first layer with a low entropy
  Depth           the lowest decoder layers alone
  Gated           a text stops at the layer where a fitted gate expects it to be final
  MaskPredict     several passes: the least likely tokens are predicted again
  DagViterbi      the best path through a directed acyclic graph; DagLookahead and
                  DagGreedy are faster searches
  Autoregressive  token by token: greedy or beam search

`from_words` maps the words of the command line and of older keyword arguments to a
strategy: below it, no string selects how to decode.
"""

import dataclasses
import math
from typing import Self

import numpy as np

from elmer_jax.core.errors import UserError
from elmer_jax.decoding import autoregressive, mask_predict, one_pass
from elmer_jax.decoding.dag_strategies import DagGreedy, DagLookahead, DagViterbi
from elmer_jax.decoding.decoded import Decoded
from elmer_jax.decoding.gate import gated_decoding
from elmer_jax.decoding.incremental import Search
from elmer_jax.decoding.strategy import (
  OFF_RAMP_OBJECTIVES,
  Strategy,
  TrainedModel,
  require_objective,
)
from elmer_jax.tokenizer.special_ids import BOS_ID, PAD_ID


@dataclasses.dataclass(frozen=True)
class NoExit(Strategy):
  """One pass through all decoder layers, one application of the head."""

  word = "none"
  accepts_lengths = True

  def resolve(self, model: TrainedModel) -> Self:
    require_objective(self, model, OFF_RAMP_OBJECTIVES)
    return self

  def decode(self, model, source_ids_BxS, length, *, details=False, lengths_B=None):
    return one_pass.decode_without_exit(
      model.config,
      model.decoding_params,
      source_ids_BxS,
      lengths_B,
      length=length,
      details=details,
    )


@dataclasses.dataclass(frozen=True)
class SoftExit(Strategy):
  """One pass in which every layer adds the embedding of its prediction.

  Attributes:
    shortlist_size: tokens that the layers below the last predict from, those that the
      first layer ranks highest anywhere in the text; 0: the whole vocabulary. An
      approximation, faster with a large vocabulary.
  """

  shortlist_size: int = 0

  word = "soft"
  accepts_lengths = True

  def resolve(self, model: TrainedModel) -> Self:
    require_objective(self, model, ("soft_exit",))
    size = model.config.vocabulary_size
    if not 0 <= self.shortlist_size <= size:
      raise UserError(
        f"shortlist={self.shortlist_size} must be between 1 and the {size} tokens of "
        "the vocabulary, or 0 for all"
      )
    return self

  def decode(self, model, source_ids_BxS, length, *, details=False, lengths_B=None):
    return one_pass.decode_with_soft_exit(
      model.config,
      model.decoding_params,
      source_ids_BxS,
      lengths_B,
      length=length,
      shortlist_size=self.shortlist_size,
      details=details,
    )


@dataclasses.dataclass(frozen=True)
class HardExit(Strategy):
  """One pass in which a token exits at the first layer of low entropy.

  Its state is copied upward from there. All layers run for all tokens, so no time is
  saved.

  Attributes:
    entropy_threshold: in nats; by default the checkpoint's. At 0 no token exits early.
  """

  entropy_threshold: float | None = None

  word = "hard"
  accepts_lengths = True

  def resolve(self, model: TrainedModel) -> Self:
    require_objective(self, model, ("lplm", "hard_exit"))
    threshold = self.entropy_threshold
    if threshold is None:
      return dataclasses.replace(self, entropy_threshold=model.exit_threshold)
    size = model.config.vocabulary_size
    if not 0 <= threshold <= math.log(size):
      raise UserError(
        f"threshold={threshold:g} must be between 0 (no token exits early) and "
        f"{math.log(size):.2f} nats, the entropy of a uniform choice of {size} tokens"
      )
    return self

  def decode(self, model, source_ids_BxS, length, *, details=False, lengths_B=None):
    return one_pass.decode_with_hard_exit(
      model.config,
      model.decoding_params,
      source_ids_BxS,
      lengths_B,
      self.entropy_threshold,
      length=length,
    )


@dataclasses.dataclass(frozen=True)
class Depth(Strategy):
  """One pass through the lowest decoder layers alone: static depth.

  Attributes:
    layers: decoder layers that run.
  """

  layers: int

  word = "depth"
  accepts_lengths = True

  def resolve(self, model: TrainedModel) -> Self:
    require_objective(self, model, OFF_RAMP_OBJECTIVES)
    model.at_depth(self.layers)
    return self

  def decode(self, model, source_ids_BxS, length, *, details=False, lengths_B=None):
    return NoExit().decode(
      model.at_depth(self.layers),
      source_ids_BxS,
      length,
      details=details,
      lengths_B=lengths_B,
    )


@dataclasses.dataclass(frozen=True)
class Gated(Strategy):
  """One pass that ends at the layer where a fitted gate expects the text to be final.

  Attributes:
    threshold: expected share of final tokens at which a text stops; by default the
      calibrated one.
  """

  threshold: float | None = None

  word = "gated"

  def resolve(self, model: TrainedModel) -> Self:
    if model.gate is None:
      raise UserError(
        "exit=gated: this checkpoint has no gate; python -m elmer_jax.calibrate makes "
        "one"
      )
    if self.threshold is None:
      return dataclasses.replace(self, threshold=model.gate.threshold)
    if not 0 <= self.threshold <= 1:
      raise UserError(f"threshold={self.threshold:g} must be between 0 and 1")
    return self

  def decode(self, model, source_ids_BxS, length, *, details=False, lengths_B=None):
    gate, trim = model.gate.gate, model.gate.trim
    lowest = model.at_depth(gated_decoding.layers_of(gate))
    found = gated_decoding.decode(
      lowest.config,
      lowest.decoding_params,
      gate,
      self.threshold,
      source_ids_BxS,
      length=length,
      trim=trim,
      details=details,
    )
    if not details:
      return Decoded(found.ids)
    exit_layers_BxT = np.broadcast_to(
      np.asarray(found.layers)[:, None] - 1, found.ids.shape
    )
    return Decoded(found.ids, found.log_probability, exit_layers_BxT)


@dataclasses.dataclass(frozen=True)
class MaskPredict(Strategy):
  """Several passes: the tokens with the lowest probability are predicted again.

  Attributes:
    passes: of the decoder; 1 is one-pass decoding.
  """

  passes: int = 4

  word = "mask_predict"

  def resolve(self, model: TrainedModel) -> Self:
    require_objective(self, model, ("masked_diffusion",))
    if not 1 <= self.passes <= 1000:
      raise UserError(f"passes={self.passes} must be between 1 and 1000")
    return self

  def decode(self, model, source_ids_BxS, length, *, details=False, lengths_B=None):
    return mask_predict.decode(
      model.config,
      model.decoding_params,
      source_ids_BxS,
      length=length,
      passes=self.passes,
    )


@dataclasses.dataclass(frozen=True)
class Autoregressive(Search, Strategy):
  """Token by token, greedy or with beams; the settings are `Search`'s."""

  word = "autoregressive"
  repeats_neighbours = False

  @classmethod
  def of(cls, search: Search) -> "Autoregressive":
    """Returns the strategy with the settings of `search`."""
    return cls(**dataclasses.asdict(search))

  def resolve(self, model: TrainedModel) -> Self:
    if model.objective != "autoregressive":
      raise UserError(
        "beams are for autoregressive models; this one was trained with objective "
        f"{model.objective} and predicts all tokens in one pass"
      )
    return self

  def decode(self, model, source_ids_BxS, length, *, details=False, lengths_B=None):
    found = autoregressive.decode(
      model.config,
      model.decoding_params,
      source_ids_BxS,
      length=length + 1,
      search=self,
    )
    ids_BxT = np.asarray(found.ids[:, 0])
    log_probability_BxT = np.asarray(found.log_probability[:, 0])
    # BOS comes first where the decoder generates it: it is not part of the text.
    has_bos_B = ids_BxT[:, 0] == BOS_ID
    ids_BxT = _shifted(ids_BxT, has_bos_B, PAD_ID)
    if not details:
      return Decoded(ids_BxT)
    last_BxT = np.full(ids_BxT.shape, model.config.decoder_layers - 1)
    return Decoded(ids_BxT, _shifted(log_probability_BxT, has_bos_B, 0.0), last_BxT)


def _shifted(array_BxT: np.ndarray, shifts_B: np.ndarray, fill: float) -> np.ndarray:
  """Returns the array with the rows in `shifts_B` moved one position to the left."""
  moved_BxT = np.pad(array_BxT[:, 1:], ((0, 0), (0, 1)), constant_values=fill)
  return np.where(shifts_B[:, None], moved_BxT, array_BxT)


# Strategies that the command line calls by their words.
_BY_WORD = (
  *(NoExit, SoftExit, HardExit, Gated),
  *(DagViterbi, DagLookahead, DagGreedy, MaskPredict),
)


def default(model: TrainedModel) -> Strategy:
  """Returns the strategy that a model was trained for."""
  match model.objective:
    case "soft_exit":
      return SoftExit()
    case "hard_exit":
      return HardExit()
    case "autoregressive":
      return Autoregressive.of(model.search)
    case "dag":
      return DagViterbi()
    case "masked_diffusion":
      return MaskPredict()
  return NoExit()


def from_words(
  model: TrainedModel,
  *,
  exit: str | None = None,
  threshold: float | None = None,
  shortlist: int = 0,
  depth: int | None = None,
  passes: int | None = None,
  search: Search | None = None,
) -> Strategy:
  """Returns the strategy that words of the command line describe.

  Args:
    model: gives the default.
    exit: the word of a strategy; by default what the model was trained for.
    threshold: of hard exit in nats, or of gated exit as a share.
    shortlist: of soft exit, in tokens.
    depth: decoder layers that run, for "none" and "viterbi".
    passes: of the decoder, for "mask_predict".
    search: settings of an autoregressive model.

  Raises:
    UserError: an unknown word, or a setting that the strategy does not have.
  """
  known = {strategy.word: strategy for strategy in _BY_WORD}
  if exit is not None and exit not in known:
    raise UserError(f"exit is one of {', '.join(known)}; not {exit!r}")
  if search is not None and exit is None:
    return Autoregressive.of(search)
  kind = known[exit] if exit else type(default(model))
  if depth is not None and kind is not DagViterbi:
    kind = Depth if exit in (None, "none") else kind
  settings = {
    SoftExit: {"shortlist_size": shortlist},
    HardExit: {"entropy_threshold": threshold},
    Gated: {"threshold": threshold},
    Depth: {"layers": depth},
    DagViterbi: {"layers": depth},
    MaskPredict: {} if passes is None else {"passes": passes},
    Autoregressive: dataclasses.asdict(model.search),
  }.get(kind, {})
  for name, given, kinds in (
    ("threshold", threshold is not None, (HardExit, Gated)),
    ("shortlist", bool(shortlist), (SoftExit,)),
    ("depth", depth is not None, (Depth, DagViterbi)),
    ("passes", passes is not None, (MaskPredict,)),
  ):
    if given and kind not in kinds:
      words = ("none" if other is Depth else other.word for other in kinds)
      raise UserError(
        f"{name} is for {' or '.join(f'exit={word}' for word in words)}; the strategy "
        f"here is {kind.word!r}"
      )
  return kind(**settings)
