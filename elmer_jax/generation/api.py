# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The public API: open a checkpoint, turn texts into texts, ask every layer."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from elmer_jax.core.errors import UserError
from elmer_jax.decoding import one_pass
from elmer_jax.decoding.gate import gate_file
from elmer_jax.decoding.incremental import Search
from elmer_jax.generation import text_results
from elmer_jax.generation.model import Model, load
from elmer_jax.generation.text_results import OnePass, Result, without_repeats

__all__ = ["Model", "Result", "generate", "load", "stream", "without_repeats"]


def generate(
  model: Model,
  texts: Sequence[str],
  *,
  exit: str | None = None,
  threshold: float | None = None,
  shortlist: int = 0,
  target_length: int | None = None,
  batch_size: int = 32,
  remove_repeats: bool | None = None,
  search: Search | None = None,
  oracle_lengths: Sequence[int] | None = None,
  details: bool = True,
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
    shortlist: of soft exit: below the last layer guesses come from so many tokens,
      those which the first layer finds likeliest anywhere in the text; 0: from all.
      Faster with a large vocabulary, and approximate.
    target_length: positions to decode; EOS ends a text earlier.
    batch_size: texts at a time; the last ones are filled up to a power of two, so that
      few programs are compiled.
    remove_repeats: whether the results go through `without_repeats`; by default they do
      if they were written in one pass.
    search: how an autoregressive model, which writes token by token, goes about it; by
      default with the settings that it came with.
    oracle_lengths: for comparisons alone: the positions of each text, its reference's
      tokens with EOS. No model that is used knows them.
    details: without, the results are texts and ids alone, and come faster: the head
      runs only where an exit needs it and at the end, and tells no probabilities.
      (Hard exit needs it in full, and token by token there is nothing to save.)

  Raises:
    UserError: for an exit the checkpoint can't do, a threshold or a shortlist out of
      range or without its exit, or a length beyond the model's positions.
  """
  return list(
    stream(
      model,
      texts,
      exit=exit,
      threshold=threshold,
      shortlist=shortlist,
      target_length=target_length,
      batch_size=batch_size,
      remove_repeats=remove_repeats,
      search=search,
      oracle_lengths=oracle_lengths,
      details=details,
    )
  )


def stream(
  model: Model,
  texts: Iterable[str],
  *,
  exit: str | None = None,
  threshold: float | None = None,
  shortlist: int = 0,
  target_length: int | None = None,
  batch_size: int = 32,
  remove_repeats: bool | None = None,
  search: Search | None = None,
  oracle_lengths: Sequence[int] | None = None,
  details: bool = True,
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
  if shortlist:
    one_pass.check_shortlist(shortlist, exit, model.config.vocabulary_size)
  length = target_length or model.target_length
  model.check_length(length)
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
  how = OnePass(exit, threshold, shortlist, length, details)
  sources = model.source_rows()
  texts = iter(texts)
  while batch := list(itertools.islice(texts, batch_size)):
    rows = sources.rows(batch, min(1 << (len(batch) - 1).bit_length(), batch_size))
    if is_autoregressive:
      results = text_results.token_by_token(model, rows, length, search or model.search)
    else:
      told = None
      if lengths:
        told = np.resize(list(itertools.islice(lengths, len(batch))), len(rows))
      results = text_results.in_one_pass(model, rows, how, told)
    for text, result in zip(batch, results, strict=False):
      if not text.strip():
        result = text_results.emptied(model, result)
      yield without_repeats(model, result) if remove_repeats else result
  sources.say_cut()
