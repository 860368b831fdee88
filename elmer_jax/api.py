# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The public API: open a checkpoint, turn texts into texts, ask every layer."""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence

import jax
import numpy as np

from elmer_jax import configuration
from elmer_jax.data.source_rows import SourceRows
from elmer_jax.data.vocabulary import Vocabulary
from elmer_jax.decoding import autoregressive, gated, off_ramps, one_pass
from elmer_jax.decoding.incremental import Search
from elmer_jax.decoding.off_ramps import Predictions
from elmer_jax.errors import UserError
from elmer_jax.model import depth
from elmer_jax.model.config import ModelConfig
from elmer_jax.special_ids import BOS_ID
from elmer_jax.training import checkpoint, gate_file


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
    gated.check(self.objective, self.config)
    config, params = depth.cut(self.config, self.params, layers)
    return dataclasses.replace(self, config=config, params=params, gate=None)

  @functools.cached_property
  def within_gate(self) -> "Model":
    """The model of the layers that a gated text may run through."""
    return self.at_depth(gated.layers_of(self.gate.gate))

  def in_dtype(self, dtype: str) -> "Model":
    """Returns the model that computes in "float32" or "bfloat16"; same parameters."""
    config = dataclasses.replace(self.config, dtype=dtype)
    return dataclasses.replace(self, config=config)

  def source_rows(self) -> SourceRows:
    """Returns what turns texts into this model's rows of ids."""
    has_masks = self.objective == "lplm"  # pairs may say "<mask>", and mean it
    return SourceRows(self.vocabulary, self.source_length, has_masks)

  @functools.cached_property
  def prepared(self) -> one_pass.Prepared:
    """The parameters as one-pass decoding reads them, made when first asked for."""
    return one_pass.prepare(self.config, self.params)

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
    _check_length(self, length)
    return {
      "length": length,
      "exit": one_pass.default_exit(self.objective),
      "layers": off_ramps.chosen(layers, self.config.decoder_layers),
    }


@dataclasses.dataclass(frozen=True)
class Result:
  """One generated text; the arrays have an entry for each of its tokens."""

  text: str
  token_ids: np.ndarray  # [n] int32, up to EOS, EOS not included
  # [n] int32, 0-based: with hard exit the layer at which a token left, otherwise the
  # one from which on its prediction stayed the same; gated: where the text stopped
  exit_layers: np.ndarray
  confidence: np.ndarray  # [n] float32, probability where it left or at the last layer
  by_layer: (
    np.ndarray
  )  # [L, n] int32, every layer's predictions; autoregressive and gated: [1, n]
  removed_repeats: int  # tokens that were left out: see `without_repeats`


def load(path: str) -> Model:
  """Opens a run's workdir, a checkpoint, or a Hugging Face folder of BART or ELMER.

  Raises:
    UserError: if there is none, or it is of another format.
  """
  loaded = checkpoint.load(path)
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


def generate(
  model: Model,
  texts: Sequence[str],
  *,
  exit: str | None = None,
  threshold: float | None = None,
  target_length: int | None = None,
  batch_size: int = 32,
  remove_repeats: bool | None = None,
  search: Search | None = None,
  oracle_lengths: Sequence[int] | None = None,
) -> list[Result]:
  """Writes a text for each text, all tokens of it in one pass.

  Args:
    model: from `load`.
    texts: the sources. For a pre-trained model `<mask>` in them stands for the mask
      token. A blank source gives an empty text.
    exit: "soft", "hard" or "none"; by default what the checkpoint was trained for. Or
      "gated", with a checkpoint that has a gate (`calibrate`).
    threshold: of hard exit: a token leaves at the first layer whose distribution has an
      entropy below it, in nats. Of gated exit: a text stops at the first layer where
      this share of it is settled, by the gate. By default the checkpoint's.
    target_length: positions to decode; EOS ends a text earlier.
    batch_size: texts at a time; the last ones are filled up to a power of two, so that
      few programs are compiled.
    remove_repeats: whether the results go through `without_repeats`; by default they do
      if they were written in one pass.
    search: how an autoregressive model, which writes token by token, goes about it; by
      default with the settings that it came with.
    oracle_lengths: for comparisons alone: the positions of each text, its reference's
      tokens with EOS. No model that is used knows them.

  Raises:
    UserError: for an exit the checkpoint can't do, a threshold out of range or without
      hard exit, or a length beyond the model's positions.
  """
  return list(
    stream(
      model,
      texts,
      exit=exit,
      threshold=threshold,
      target_length=target_length,
      batch_size=batch_size,
      remove_repeats=remove_repeats,
      search=search,
      oracle_lengths=oracle_lengths,
    )
  )


def stream(
  model: Model,
  texts: Iterable[str],
  *,
  exit: str | None = None,
  threshold: float | None = None,
  target_length: int | None = None,
  batch_size: int = 32,
  remove_repeats: bool | None = None,
  search: Search | None = None,
  oracle_lengths: Sequence[int] | None = None,
) -> Iterator[Result]:
  """Yields what `generate` returns, a batch of `texts` in memory at a time."""
  exit = exit or one_pass.default_exit(model.objective)
  if exit == "gated":
    threshold = gate_file.threshold_of(model.gate, threshold)
  else:
    one_pass.check_exit(exit, model.objective)
    if threshold is None:
      threshold = model.exit_threshold
    else:
      one_pass.check_threshold(threshold, exit, model.config.vocabulary_size)
  length = target_length or model.target_length
  _check_length(model, length)
  is_autoregressive = model.objective == "autoregressive"
  if search and not is_autoregressive:
    raise UserError(
      f"beams are for autoregressive models; this one was trained with "
      f"{model.objective} and writes all tokens at once"
    )
  if oracle_lengths is not None and (is_autoregressive or exit == "gated"):
    raise UserError("oracle_lengths are for one pass through all layers, not for this")
  lengths = None if oracle_lengths is None else iter(oracle_lengths)
  if remove_repeats is None:
    remove_repeats = not is_autoregressive
  sources = model.source_rows()
  texts = iter(texts)
  while batch := list(itertools.islice(texts, batch_size)):
    rows = sources.rows(batch, min(1 << (len(batch) - 1).bit_length(), batch_size))
    if is_autoregressive:
      results = _write(model, rows, length, search or model.search)
    else:
      told = None
      if lengths:
        told = np.resize(list(itertools.islice(lengths, len(batch))), len(rows))
      results = _decode(model, rows, exit, threshold, length, told)
    for text, result in zip(batch, results, strict=False):
      if not text.strip():
        result = _first_tokens(model, result, 0)
      yield without_repeats(model, result) if remove_repeats else result
  sources.say_cut()


def _check_length(model: Model, length: int) -> None:
  # The autoregressive decoder has one position more: it writes BOS too.
  longest = model.config.positions - (model.objective == "autoregressive")
  if not 1 <= length <= longest:
    raise UserError(
      f"target_length {length} must lie between 1 and the model's {longest} positions"
    )


def without_repeats(model: Model, result: Result) -> Result:
  """Leaves out the tokens that repeat their left neighbour.

  Positions that are predicted side by side often agree on one word: "the the".
  """
  kept = one_pass.without_repeats(result.token_ids)
  return dataclasses.replace(
    _tokens(model, result, kept),
    removed_repeats=result.removed_repeats + int((~kept).sum()),
  )


def _decode(
  model: Model,
  rows_BxS: np.ndarray,
  exit: str,
  threshold: float,
  length: int,
  oracle_lengths_B: np.ndarray | None,
) -> Iterator[Result]:
  """Yields a result for each row, with every token before EOS."""
  decoded = _run(model, rows_BxS, exit, threshold, length, oracle_lengths_B)
  ids_BxT, by_layer_LxBxT = np.asarray(decoded.ids), np.asarray(decoded.by_layer)
  confidence_BxT = np.exp(np.asarray(decoded.log_probability))
  if decoded.exit_layers is None:
    exit_layers_BxT = map(one_pass.last_change, by_layer_LxBxT.swapaxes(0, 1))
  else:
    exit_layers_BxT = np.asarray(decoded.exit_layers)
  for row, (ids_T, exit_layers_T) in enumerate(
    zip(ids_BxT, exit_layers_BxT, strict=True)
  ):
    by_layer_LxT = by_layer_LxBxT[:, row]
    every = Result("", ids_T, exit_layers_T, confidence_BxT[row], by_layer_LxT, 0)
    yield _first_tokens(model, every, one_pass.text_length(ids_T))


def _run(
  model: Model,
  rows_BxS: np.ndarray,
  exit: str,
  threshold: float,
  length: int,
  oracle_lengths_B: np.ndarray | None,
) -> one_pass.Decoded:
  sizes = model.config
  if exit != "gated":
    return one_pass.decode(
      sizes,
      **model.prepared._asdict(),
      source_ids_BxS=rows_BxS,
      length=length,
      exit=exit,
      threshold=threshold,
      oracle_lengths_B=oracle_lengths_B,
      all_layers=True,
    )
  gate, _, trim, _ = model.gate
  settings = {"length": length, "trim": trim}
  sizes, params = model.within_gate.config, model.within_gate.prepared.params
  found = gated.decode(sizes, params, gate, threshold, rows_BxS, **settings)
  layers_BxT = np.broadcast_to(np.asarray(found.layers)[:, None] - 1, found.ids.shape)
  return one_pass.Decoded(found.ids, found.log_probability, found.ids[None], layers_BxT)


def _write(
  model: Model, rows_BxS: np.ndarray, length: int, search: Search
) -> Iterator[Result]:
  """Yields the best text of each row, written token by token."""
  found = autoregressive.decode(
    model.config, model.params, rows_BxS, length=length + 1, search=search
  )
  best_BxT = np.asarray(found.ids[:, 0])
  confidence_BxT = np.exp(np.asarray(found.log_probability[:, 0]))
  for ids_T, confidence_T in zip(best_BxT, confidence_BxT, strict=True):
    start = int(ids_T[0] == BOS_ID)  # is no part of the text
    ids_T, confidence_T = ids_T[start:], confidence_T[start:]
    last_T = np.full(len(ids_T), model.config.decoder_layers - 1)
    every = Result("", ids_T, last_T, confidence_T, ids_T[None], 0)
    yield _first_tokens(model, every, one_pass.text_length(ids_T))


def _first_tokens(model: Model, result: Result, count: int) -> Result:
  return _tokens(model, result, np.arange(len(result.token_ids)) < count)


def _tokens(model: Model, result: Result, kept: np.ndarray) -> Result:
  """Returns what a result says at the tokens where `kept` is true."""
  ids = result.token_ids[kept]
  return Result(
    model.vocabulary.decode(ids),
    ids,
    result.exit_layers[kept],
    result.confidence[kept],
    result.by_layer[:, kept],
    result.removed_repeats,
  )
