# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Builds the vocabulary and the caches of a run, or completes existing ones."""

import dataclasses
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence

import ml_collections
from absl import logging

from elmer_jax.core import quiet
from elmer_jax.core.errors import UserError
from elmer_jax.core.wording import count_of
from elmer_jax.data import prepared_data
from elmer_jax.data.cache.cache import write_json
from elmer_jax.data.cache.prepare_progress import PrepareProgress
from elmer_jax.data.cache.writer import write_cache
from elmer_jax.data.datasets import dataset_files
from elmer_jax.data.datasets.dataset import DatasetSpec
from elmer_jax.data.datasets.local_files import (
  configured_dataset,
  with_distilled_training_split,
)
from elmer_jax.data.mixture_rates import parse_rates
from elmer_jax.data.prepared_data import MixturePart
from elmer_jax.tokenizer.bpe import Vocabulary

FEW_PAIRS = 100  # fewer give scores that differ by chance


def prepare(config: ml_collections.ConfigDict, workdir: str) -> Vocabulary:
  """Builds the vocabulary and the caches if they are missing; returns the vocabulary.

  If everything exists, this takes a fraction of a second and doesn't import seqio.

  Raises:
    UserError: the input can't be read, or the existing data was prepared with another
      configuration.
  """
  parts = prepared_data.read_parts(config, workdir)
  if parts is not None:
    vocabulary = Vocabulary.load(prepared_data.vocabulary_folder(config, workdir))
    for part in parts:
      for split in part.splits:
        prepared_data.open_part(config, workdir, vocabulary, part, split)
    return vocabulary

  specs = dataset_specs_of(config)
  parse_rates(config.data.rates, [spec.name for spec, _ in specs])
  vocabulary = _vocabulary(config, workdir, [spec for spec, _ in specs])
  progress = PrepareProgress()
  parts = _write_parts(config, workdir, specs, vocabulary, progress)
  prepared_data.write_parts(config, workdir, parts)
  progress.log_total()
  return vocabulary


def _write_parts(
  config: ml_collections.ConfigDict,
  workdir: str,
  specs: Sequence[tuple[DatasetSpec, float | None]],
  vocabulary: Vocabulary,
  progress: PrepareProgress,
) -> list[MixturePart]:
  parts = []
  for spec, rate in specs:
    # The user's test files are read by `evaluate` alone and may change.
    splits = [s for s in spec.splits if s != "test" or not config.data.test_files]
    part = MixturePart(spec.name, spec.kind, rate or 0.0, splits)
    manifests = {}
    for split in part.splits:
      manifests[split] = write_cache(
        prepared_data.cache_folder(config, workdir, part.task, split),
        spec,
        prepared_data.cache_key(config, part, split, vocabulary),
        vocabulary,
        config.data.num_workers,
        progress,
      )
    if dataset_files.has_own_files(config):
      _log_sides(spec, manifests, bool(config.data.validation_files))
    if rate is None:
      # Mixed by the number of examples, every token is equally frequent.
      part = dataclasses.replace(part, rate=float(manifests["train"]["examples"]))
    parts.append(part)
  return parts


def dataset_specs_of(
  config: ml_collections.ConfigDict,
) -> list[tuple[DatasetSpec, float | None]]:
  """Returns the datasets that `data.task` consists of, each with its rate.

  With `data.distilled`, the training split is the one that `distill` wrote.

  Raises:
    UserError: there is no such task, or a file of it is missing.
  """
  specs = task_dataset_specs(config)
  if not config.data.distilled:
    return specs
  if len(specs) > 1 or specs[0][0].kind != "pairs":
    raise UserError(
      f"data.distilled needs a single task of pairs; data.task is {config.data.task}"
    )
  [(spec, rate)] = specs
  return [(with_distilled_training_split(spec, config.data.distilled), rate)]


def task_dataset_specs(
  config: ml_collections.ConfigDict,
) -> list[tuple[DatasetSpec, float | None]]:
  """Returns the datasets of `data.task` without `data.distilled`."""
  if dataset_files.has_own_files(config):
    return [(configured_dataset(config, config.data.task), 1.0)]
  for key in ("validation_files", "test_files"):
    if config.data[key]:
      raise UserError(f"data.{key} is for your own files, which data.files names")
  quiet.import_seqio()
  from elmer_jax.data import tasks

  with dataset_files.use_configured_files(config):
    specs = tasks.dataset_specs_of(config.data.task)
  if len({spec.kind for spec, _ in specs}) > 1:
    raise UserError(f"{config.data.task} mixes tasks of documents with tasks of pairs")
  for spec, _ in specs:
    for split in spec.splits:
      spec.read(split)  # raises if files are missing, before anything is written
  return specs


def _log_sides(
  spec: DatasetSpec, manifests: Mapping[str, Mapping], has_own_validation: bool
) -> None:
  """Logs how many of the user's texts or pairs are on which side."""
  noun = "document" if spec.kind == "lplm" else "pair"
  train, validation = (manifests[s]["documents"] for s in ("train", "validation"))
  together = "" if spec.kind == "lplm" else ", pairs of one source on one side"
  origin = "" if has_own_validation else f" (held out of the same files{together})"
  logging.info(
    "%s to train on, %s to validate on%s",
    *(count_of(train, noun), count_of(validation, noun), origin),
  )
  if spec.kind == "pairs" and validation < FEW_PAIRS:
    logging.warning(
      "%s to validate on: scores will differ by chance; data.validation_files and "
      "data.test_files name more",
      count_of(validation, noun),
    )


def _vocabulary(
  config: ml_collections.ConfigDict, workdir: str, specs: Sequence[DatasetSpec]
) -> Vocabulary:
  """Loads the vocabulary, or trains it unless an earlier start did on the same text."""
  folder = prepared_data.vocabulary_folder(config, workdir)
  text = {s.name: s.size("train") if s.size else None for s in specs}  # in bytes
  if not config.data.vocabulary and prepared_data.is_of_other_text(folder, text):
    logging.info("the text has changed: vocabulary and cache are made again")
    prepared_data.remove(config, workdir)
  if config.data.vocabulary or (folder / "vocab.json").exists():
    return Vocabulary.load(folder)
  start = time.monotonic()
  vocabulary = Vocabulary.train(_texts(specs), config.data.vocabulary_size, folder)
  logging.info(
    "trained a vocabulary of %s in %.1f s",
    count_of(vocabulary.size, "id"),
    time.monotonic() - start,
  )
  write_json(folder / prepared_data.TEXT, text)
  return vocabulary


def _texts(specs: Sequence[DatasetSpec]) -> Iterator[str]:
  """Yields training texts of all datasets in turn; the caller may stop early."""
  readers = [spec.read("train") for spec in specs]
  for items in itertools.zip_longest(*readers):
    for item in items:
      if item is not None:
        yield from [item] if isinstance(item, str) else item
