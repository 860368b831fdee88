# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The public API: open a checkpoint, turn texts into texts."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from absl import logging

from elmer_jax.data.vocabulary import Vocabulary
from elmer_jax.decoding import one_pass
from elmer_jax.errors import UserError
from elmer_jax.model.config import ModelConfig
from elmer_jax.special_ids import BOS_ID, EOS_ID, PAD_ID
from elmer_jax.training import checkpoint

MASK_TEXT = "<mask>"


@dataclasses.dataclass(frozen=True)
class Model:
  """A checkpoint in memory: sizes, parameters, vocabulary."""

  config: ModelConfig
  params: dict  # nested dict of float32 arrays
  vocabulary: Vocabulary
  objective: str  # what it was trained with
  source_length: int  # tokens, BOS and EOS included
  target_length: int  # positions that are decoded unless told otherwise


@dataclasses.dataclass(frozen=True)
class Result:
  """One generated text; the arrays have an entry for each of its tokens."""

  text: str
  token_ids: np.ndarray  # [n] int32, up to EOS, EOS not included
  exit_layers: np.ndarray  # [n] int32, 0-based layer from which on it stayed
  confidence: np.ndarray  # [n] float32, probability at the last layer
  by_layer: np.ndarray  # [L, n] int32, every layer's predictions
  removed_repeats: int  # tokens that were left out: see `without_repeats`


def load(path: str) -> Model:
  """Opens a run's workdir, its folder of checkpoints or one checkpoint.

  Raises:
    UserError: if there is none, or it is of another format.
  """
  config, params, metadata, vocabulary_folder = checkpoint.load(path)
  vocabulary = Vocabulary.load(vocabulary_folder)
  if vocabulary.size != config.vocabulary_size:
    raise UserError(
      f"{vocabulary_folder} has {vocabulary.size} tokens, the model at {path} "
      f"{config.vocabulary_size}: they don't belong together"
    )
  return Model(
    config,
    params,
    vocabulary,
    metadata["objective"]["name"],
    metadata["source_length"],
    metadata["target_length"],
  )


def generate(
  model: Model,
  texts: Sequence[str],
  *,
  exit: str | None = None,
  target_length: int | None = None,
  batch_size: int = 32,
  remove_repeats: bool = True,
) -> list[Result]:
  """Writes a text for each text, all tokens of it in one pass.

  Args:
    model: from `load`.
    texts: the sources. For a pre-trained model `<mask>` in them stands for the mask
      token. A blank source gives an empty text.
    exit: "soft" or "none"; by default what the checkpoint was trained for.
    target_length: positions to decode; EOS ends a text earlier.
    batch_size: texts at a time; the last ones are filled up to a power of two, so that
      few programs are compiled.
    remove_repeats: whether the results go through `without_repeats`.

  Raises:
    UserError: for an exit the checkpoint can't do, or a length beyond its positions.
  """
  return list(
    stream(
      model,
      texts,
      exit=exit,
      target_length=target_length,
      batch_size=batch_size,
      remove_repeats=remove_repeats,
    )
  )


def stream(
  model: Model,
  texts: Iterable[str],
  *,
  exit: str | None = None,
  target_length: int | None = None,
  batch_size: int = 32,
  remove_repeats: bool = True,
) -> Iterator[Result]:
  """Yields what `generate` returns, a batch of `texts` in memory at a time."""
  exit = exit or ("soft" if model.objective == "soft_exit" else "none")
  one_pass.check_exit(exit, model.objective)
  length = target_length or model.target_length
  if not 1 <= length <= model.config.positions:
    raise UserError(
      f"target_length {length} must lie between 1 and the model's "
      f"{model.config.positions} positions"
    )
  sources = _Sources(model)
  texts = iter(texts)
  while batch := list(itertools.islice(texts, batch_size)):
    size = min(1 << (len(batch) - 1).bit_length(), batch_size)
    results = _decode(model, sources.rows(batch, size), exit, length)
    for text, result in zip(batch, results, strict=False):
      if not text.strip():
        result = _first_tokens(model, result, 0)
      yield without_repeats(model, result) if remove_repeats else result
  sources.say_cut()


def without_repeats(model: Model, result: Result) -> Result:
  """Leaves out the tokens that repeat their left neighbour.

  Positions that are predicted side by side often agree on one word: "the the".
  """
  kept = one_pass.without_repeats(result.token_ids)
  return dataclasses.replace(
    _tokens(model, result, kept),
    removed_repeats=result.removed_repeats + int((~kept).sum()),
  )


class _Sources:
  """Turns texts into rows of ids [B, S], and counts what had to be cut."""

  def __init__(self, model: Model):
    self._model = model
    self._cut = 0

  def rows(self, texts: list[str], count: int) -> np.ndarray:
    """Returns int32 [count, S]; rows beyond the texts are empty sources."""
    rows = np.full((count, self._model.source_length), PAD_ID, np.int32)
    rows[:, 0] = BOS_ID
    rows[:, 1] = EOS_ID
    for row, text in zip(rows, texts, strict=False):
      ids = self._encode(text)
      room = len(row) - 2
      self._cut += len(ids) > room
      ids = ids[:room]
      row[1 : 1 + len(ids)] = ids
      row[1 + len(ids)] = EOS_ID
    return rows

  def _encode(self, text: str) -> np.ndarray:
    # Only pre-training has masks; in pairs "<mask>" is text like any other.
    if self._model.objective == "lplm":
      return encode_with_masks(self._model.vocabulary, text)
    return self._model.vocabulary.encode(text)

  def say_cut(self) -> None:
    if self._cut:
      logging.warning(
        "%d texts were longer than %d tokens and were cut",
        self._cut,
        self._model.source_length - 2,
      )


def encode_with_masks(vocabulary: Vocabulary, text: str) -> np.ndarray:
  """Returns ids [n] int32, with the mask's id where the text says `<mask>`."""
  pieces = [vocabulary.encode(piece) for piece in text.split(MASK_TEXT)]
  mask = np.array([vocabulary.mask_id], np.int32)
  joined = [part for piece in pieces for part in (mask, piece)][1:]
  return np.concatenate(joined).astype(np.int32)


def text_with_masks(vocabulary: Vocabulary, ids: np.ndarray) -> str:
  """Returns the text of ids [n], with `<mask>` where the mask's id stands."""
  runs = np.split(ids, np.flatnonzero(ids == vocabulary.mask_id))
  return MASK_TEXT.join(vocabulary.decode(run) for run in runs)


def _decode(
  model: Model, rows_BxS: np.ndarray, exit: str, length: int
) -> Iterator[Result]:
  """Yields a result for each row, with every token before EOS."""
  decoded = one_pass.decode(
    model.config, model.params, rows_BxS, length=length, exit=exit, all_layers=True
  )
  ids_BxT, by_layer_LxBxT = np.asarray(decoded.ids), np.asarray(decoded.by_layer)
  confidence_BxT = np.exp(np.asarray(decoded.log_probability))
  for row, ids_T in enumerate(ids_BxT):
    by_layer_LxT = by_layer_LxBxT[:, row]
    every = Result(
      "",
      ids_T,
      one_pass.last_change(by_layer_LxT),
      confidence_BxT[row],
      by_layer_LxT,
      0,
    )
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
