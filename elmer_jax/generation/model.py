# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint in memory, and the predictions of every decoder layer."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import numpy as np

from elmer_jax import configuration
from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.core.errors import UserError
from elmer_jax.core.paths import local_path
from elmer_jax.decoding import decoding_model, off_ramps
from elmer_jax.decoding.dag_settings import DagSettings
from elmer_jax.decoding.decoding_model import DecodingParams
from elmer_jax.decoding.gate import gate_file
from elmer_jax.decoding.incremental import Search
from elmer_jax.decoding.off_ramps import Predictions
from elmer_jax.generation.source_rows import SourceRows
from elmer_jax.model import depth
from elmer_jax.model.config import ModelConfig
from elmer_jax.tokenizer.bpe import Vocabulary


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
  """A checkpoint in memory: sizes, parameters, vocabulary."""

  config: ModelConfig
  params: dict  # nested dict of float32 arrays
  vocabulary: Vocabulary
  objective: str  # the one it was trained with
  source_length: int  # tokens, BOS and EOS included
  target_length: int  # default number of positions to decode
  search: Search = Search()  # default settings of an autoregressive model
  exit_threshold: float = 0.0  # default of hard exit, nats
  gate: gate_file.Calibrated | None = None  # of gated exit
  dag: DagSettings | None = None  # of the objective `dag`

  @functools.cached_property
  def decoding_params(self) -> DecodingParams:
    """The parameters arranged for decoding on this machine, made on first use."""
    return decoding_model.prepare(self.config, self.params)

  @functools.cached_property
  def _by_depth(self) -> dict[int, "Model"]:
    return {}

  def at_depth(self, layers: int) -> "Model":
    """Returns the model of the lowest `layers` decoder layers: static depth.

    Raises:
      UserError: the model does not have these layers.
    """
    if layers not in self._by_depth:
      config, params = depth.cut(self.config, self.params, layers)
      self._by_depth[layers] = dataclasses.replace(
        self, config=config, params=params, gate=None
      )
    return self._by_depth[layers]

  def in_dtype(self, dtype: str) -> "Model":
    """Returns the model that computes in "float32" or "bfloat16"; same parameters."""
    config = dataclasses.replace(self.config, dtype=dtype)
    return dataclasses.replace(self, config=config)

  def source_rows(self) -> SourceRows:
    """Returns the encoder of texts as rows of ids for this model."""
    has_masks = self.objective == "lplm"  # in other texts "<mask>" is plain text
    return SourceRows(self.vocabulary, self.source_length, has_masks)

  def check_length(self, length: int) -> None:
    """Raises `UserError` unless the position table has `length` target positions."""
    # An autoregressive model uses one more, for BOS.
    longest = self.config.positions - (self.objective == "autoregressive")
    if self.dag is not None:
      longest = int(longest / self.dag.options.upsampling)
    if not isinstance(length, (int, np.integer)) or not 1 <= length <= longest:
      raise UserError(
        f"target_length {length} must be between 1 and the model's {longest} positions"
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

    They take 4 · L · B · T · V bytes, 1.2 GB for 32 sources, 32 positions and the 6
    layers of the base model; `off_ramp_predictions` keeps none of them.

    Args:
      source_ids_BxS: int32 ids with BOS and EOS.
      target_length: positions T.
      source_mask_BxS: bool or 0 and 1, the source positions to attend to; by default
        all but PAD.
      exit_layers_BxT: int32, the 0-based layer at which each token exits. The layers
        then run as in pre-training: the state of a token that has exited is copied
        upward, and its logits stay those of its exit layer. By default no token exits,
        and a model with the soft-exit projection applies it between the layers.
      target_mask_BxT: bool or 0 and 1, the target positions to attend to; by default
        all.
      layers: 0-based layers to return; by default all.

    Returns:
      [layers, B, T, V] float32, with `final_logits_bias` added, as in the losses.

    Raises:
      UserError: the model is autoregressive, or T is more than its positions.
    """
    inputs = _inputs(source_ids_BxS, source_mask_BxS, target_mask_BxT, exit_layers_BxT)
    return off_ramps.logits(
      self.config, self.params, inputs, **self._off_ramps(target_length, layers)
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
    """Returns every layer's arg-max, its probability and the entropy [layers, B, T].

    Arguments and errors are those of `off_ramp_logits`; no logits are kept.
    """
    inputs = _inputs(source_ids_BxS, source_mask_BxS, target_mask_BxT, exit_layers_BxT)
    return off_ramps.predictions(
      self.config, self.params, inputs, **self._off_ramps(target_length, layers)
    )

  def _off_ramps(self, length: int, layers: Sequence[int] | None) -> dict:
    if self.objective == "autoregressive":
      raise UserError("an autoregressive model has no off-ramps below its last layer")
    self.check_length(length)
    return {
      "length": length,
      "uses_soft_exit": self.objective == "soft_exit",
      "layers": off_ramps.chosen(layers, self.config.decoder_layers),
    }


def _inputs(source_ids, source_mask, target_mask, exit_layers) -> off_ramps.Inputs:
  """Returns the arguments of the off-ramp calls; masks may be of integers 0 and 1."""

  def as_bool(mask):
    return None if mask is None else jax.numpy.asarray(mask, bool)

  return off_ramps.Inputs(
    source_ids, as_bool(source_mask), as_bool(target_mask), exit_layers
  )


def load(path: str) -> Model:
  """Opens a run's workdir, a checkpoint, or a Hugging Face folder of BART or ELMER.

  Raises:
    UserError: there is none at this path, or it has another format.
  """
  path = local_path(path, "path")
  loaded = orbax_checkpoint.load(path)
  vocabulary = Vocabulary.load(loaded.vocabulary)
  if vocabulary.size != loaded.config.vocabulary_size:
    raise UserError(
      f"{loaded.vocabulary} has {vocabulary.size} tokens, the model at {path} "
      f"{loaded.config.vocabulary_size}: they do not belong together"
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
    loaded.dag,
  )
