# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint in memory, and what every layer of it says."""

import dataclasses
import functools
from collections.abc import Sequence

import jax

from elmer_jax import configuration
from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.core.errors import UserError
from elmer_jax.decoding import decoding_model, off_ramps, one_pass
from elmer_jax.decoding.decoding_model import DecodingParams
from elmer_jax.decoding.gate import gate_file, gated_decoding
from elmer_jax.decoding.incremental import Search
from elmer_jax.decoding.off_ramps import Predictions
from elmer_jax.generation.source_rows import SourceRows
from elmer_jax.model import depth
from elmer_jax.model.config import ModelConfig
from elmer_jax.tokenizer.bpe import Vocabulary


@dataclasses.dataclass(frozen=True)
class Model:
  """A checkpoint in memory: sizes, parameters, vocabulary."""

  config: ModelConfig
  params: dict  # nested dict of float32 arrays
  vocabulary: Vocabulary
  objective: str  # what it was trained with
  source_length: int  # tokens, BOS and EOS included
  target_length: int  # positions that are decoded unless told otherwise
  search: Search = Search()  # how an autoregressive model writes
  exit_threshold: float = 0.0  # of hard exit unless told otherwise, nats
  gate: gate_file.Calibrated | None = None  # for gated exit

  def at_depth(self, layers: int) -> "Model":
    """Returns the model of the lowest decoder layers alone: static depth."""
    gated_decoding.check(self.objective, self.config)
    config, params = depth.cut(self.config, self.params, layers)
    return dataclasses.replace(self, config=config, params=params, gate=None)

  @functools.cached_property
  def within_gate(self) -> "Model":
    """The model of the layers that a gated text may run through."""
    return self.at_depth(gated_decoding.layers_of(self.gate.gate))

  def in_dtype(self, dtype: str) -> "Model":
    """Returns the model that computes in "float32" or "bfloat16"; same parameters."""
    config = dataclasses.replace(self.config, dtype=dtype)
    return dataclasses.replace(self, config=config)

  def source_rows(self) -> SourceRows:
    """Returns what turns texts into this model's rows of ids."""
    has_masks = self.objective == "lplm"  # pairs may say "<mask>", and mean it
    return SourceRows(self.vocabulary, self.source_length, has_masks)

  @functools.cached_property
  def prepared(self) -> DecodingParams:
    """The parameters arranged for decoding, at the first use."""
    return decoding_model.prepare(self.config, self.params)

  def check_length(self, length: int) -> None:
    """Raises `UserError` unless there are so many target positions."""
    # The autoregressive decoder has one position more: it writes BOS too.
    longest = self.config.positions - (self.objective == "autoregressive")
    if not 1 <= length <= longest:
      raise UserError(
        f"target_length {length} must lie between 1 and the model's {longest} positions"
      )

  def off_ramp_logits(
    self,
    source_ids_BxS: jax.Array,
    target_length: int,
    source_mask_BxS: jax.Array | None = None,
    exit_layers_BxT: jax.Array | None = None,
    target_mask_BxT: jax.Array | None = None,
    layers: Sequence[int] | None = None,
  ) -> jax.Array:
    """Returns the logits of all decoder layers, in one jitted call.

    They are large: 4 · L · B · T · V bytes, 1.2 GB for 32 sources, 32 positions and
    the 6 layers of the base model; `off_ramp_predictions` keeps none of them.

    Args:
      source_ids_BxS: int32 ids with BOS and EOS.
      target_length: positions T.
      source_mask_BxS: bool, which source positions count; by default all but PAD.
      exit_layers_BxT: int32, the 0-based layer at which each token exits: then the
        layers run as in pre-training, where an exited token's state is copied upward,
        and the logits above its exit are those at its exit. By default none exits, and
        a model with the soft-exit projection applies it between the layers.
      target_mask_BxT: bool, which target positions are seen; by default all.
      layers: 0-based layers that are wanted; by default all.

    Returns:
      [L, B, T, V] float32, or as many layers as were asked for. `final_logits_bias`
      is included, as in the losses.

    Raises:
      UserError: the model is autoregressive, or T is more than its positions.
    """
    return off_ramps.logits(
      self.config,
      self.params,
      off_ramps.Inputs(
        source_ids_BxS, source_mask_BxS, target_mask_BxT, exit_layers_BxT
      ),
      **self._off_ramps(target_length, layers),
    )

  def off_ramp_predictions(
    self,
    source_ids_BxS: jax.Array,
    target_length: int,
    source_mask_BxS: jax.Array | None = None,
    exit_layers_BxT: jax.Array | None = None,
    target_mask_BxT: jax.Array | None = None,
    layers: Sequence[int] | None = None,
  ) -> Predictions:
    """Returns every layer's arg-max, its probability and the entropy [L, B, T].

    As `off_ramp_logits`, but no logits are kept.
    """
    return off_ramps.predictions(
      self.config,
      self.params,
      off_ramps.Inputs(
        source_ids_BxS, source_mask_BxS, target_mask_BxT, exit_layers_BxT
      ),
      **self._off_ramps(target_length, layers),
    )

  def _off_ramps(self, length: int, layers: Sequence[int] | None) -> dict:
    if self.objective == "autoregressive":
      raise UserError("an autoregressive model has no off-ramps: it writes one by one")
    self.check_length(length)
    return {
      "length": length,
      "exit": one_pass.default_exit(self.objective),
      "layers": off_ramps.chosen(layers, self.config.decoder_layers),
    }


def load(path: str) -> Model:
  """Opens a run's workdir, a checkpoint, or a Hugging Face folder of BART or ELMER.

  Raises:
    UserError: if there is none, or it is of another format.
  """
  loaded = orbax_checkpoint.load(path)
  vocabulary = Vocabulary.load(loaded.vocabulary)
  if vocabulary.size != loaded.config.vocabulary_size:
    raise UserError(
      f"{loaded.vocabulary} has {vocabulary.size} tokens, the model at {path} "
      f"{loaded.config.vocabulary_size}: they don't belong together"
    )
  objective = {**configuration.default().objective, **loaded.metadata["objective"]}
  return Model(
    loaded.config,
    loaded.params,
    vocabulary,
    objective["name"],
    loaded.metadata["source_length"],
    loaded.metadata["target_length"],
    Search(**loaded.metadata.get("generation", {})),
    objective["exit_threshold"],
    loaded.gate,
  )
