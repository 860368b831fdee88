# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The public API: open a checkpoint, generate texts."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from elmer_jax.core.errors import UserError
from elmer_jax.decoding import strategies
from elmer_jax.decoding.strategies import Strategy
from elmer_jax.generation import text_results
from elmer_jax.generation.model import Model, load
from elmer_jax.generation.text_results import Result

__all__ = ["Model", "Result", "Settings", "generate", "load", "stream"]


@dataclasses.dataclass(frozen=True)
class Settings:
  """The settings of a generation beside the decoding strategy.

  Attributes:
    target_length: positions to decode, by default the model's; EOS ends a text earlier.
    batch_size: texts at a time; the last batch is filled up to a power of two, so that
      few programs are compiled.
    remove_repeats: whether to remove tokens that equal their left neighbour; by default
      for the strategies that predict neighbours independently: all but
      `Autoregressive` and those of the objective `dag`.
    oracle_lengths: the references' lengths in tokens with EOS, one a text. For
      comparison with published scores only: no deployed model knows them.
    details: whether results have more than texts and ids, which takes longer: layers,
      confidences and the predictions of every layer.
  """

  target_length: int | None = None
  batch_size: int = 32
  remove_repeats: bool | None = None
  oracle_lengths: Sequence[int] | None = None
  details: bool = True


def generate(
  model: Model,
  texts: Sequence[str],
  decoding: Strategy | None = None,
  *,
  target_length: int | None = None,
  batch_size: int = 32,
  remove_repeats: bool | None = None,
  oracle_lengths: Sequence[int] | None = None,
  details: bool = True,
  **words: object,
) -> list[Result]:
  """Generates a text for each source text.

  Args:
    model: from `load`.
    texts: the sources. For a pre-trained model `<mask>` in them is the mask token. A
      blank source gives an empty text.
    decoding: one of `decoding.strategies`, such as `HardExit(entropy_threshold=0.5)`;
      by default the one that the model was trained for.
    target_length: see `Settings`, as for all that follow.
    batch_size: see `Settings`.
    remove_repeats: see `Settings`.
    oracle_lengths: see `Settings`.
    details: see `Settings`.
    **words: the older form of `decoding`: `exit` ("none", "soft", "hard", "gated"),
      `threshold`, `shortlist`, `search`; see `strategies.from_words`.

  Raises:
    UserError: the strategy does not fit the model, or an argument is out of range.
  """
  if words:
    if decoding is not None:
      raise UserError(f"decoding is given, so {', '.join(words)} cannot be")
    decoding = strategies.from_words(model, **words)
  settings = Settings(
    target_length, batch_size, remove_repeats, oracle_lengths, details
  )
  _refuse_one_string(texts)
  texts = list(texts)
  if oracle_lengths is not None and len(oracle_lengths) != len(texts):
    raise UserError(f"{len(oracle_lengths)} oracle_lengths for {len(texts)} texts")
  return list(stream(model, texts, decoding, settings))


def stream(
  model: Model,
  texts: Iterable[str],
  decoding: Strategy | None = None,
  settings: Settings = Settings(),
) -> Iterator[Result]:
  """Returns an iterator of results, with one batch of `texts` in memory at a time.

  Raises:
    UserError: at this call, not at the first result; as `generate`. A text that is no
      string is found when it is reached.
  """
  _refuse_one_string(texts)
  decoding = (decoding or strategies.default(model)).resolve(model)
  length = model.target_length
  if settings.target_length is not None:
    length = settings.target_length
  model.check_length(length)
  if not isinstance(settings.batch_size, (int, np.integer)) or settings.batch_size < 1:
    raise UserError(
      f"batch_size must be a whole number from 1 on; it is {settings.batch_size!r}"
    )
  lengths = settings.oracle_lengths
  if lengths is not None:
    if not decoding.accepts_lengths:
      raise UserError(f"oracle_lengths are not for {type(decoding).__name__} decoding")
    if not all(1 <= number <= length for number in lengths):
      raise UserError(f"oracle_lengths must be between 1 and target_length ({length})")
  return _batches(model, _strings(texts), decoding, length, settings)


def _refuse_one_string(texts: Iterable[str]) -> None:
  if isinstance(texts, (str, bytes)):
    raise UserError("texts is one string: give a list of texts")


def _strings(texts: Iterable[str]) -> Iterator[str]:
  for number, text in enumerate(texts):
    if not isinstance(text, str):
      raise UserError(f"texts[{number}] is of type {type(text).__name__}, not a string")
    yield text


def _batches(
  model: Model,
  texts: Iterator[str],
  decoding: Strategy,
  length: int,
  settings: Settings,
) -> Iterator[Result]:
  removes = settings.remove_repeats
  if removes is None:
    removes = decoding.repeats_neighbours
  sources, vocabulary = model.source_rows(), model.vocabulary
  lengths = None if settings.oracle_lengths is None else iter(settings.oracle_lengths)
  while batch := list(itertools.islice(texts, settings.batch_size)):
    count = min(1 << (len(batch) - 1).bit_length(), settings.batch_size)
    lengths_B = None
    if lengths:
      lengths_B = np.resize(list(itertools.islice(lengths, len(batch))), count)
    decoded = decoding.decode(
      model,
      sources.rows(batch, count),
      length,
      details=settings.details,
      lengths_B=lengths_B,
    )
    results = text_results.results(decoded, vocabulary)
    for text, result in zip(batch, results, strict=False):
      if not text.strip():
        result = text_results.empty(vocabulary, result)
      yield text_results.without_repeats(vocabulary, result) if removes else result
  sources.log_truncated()
