# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The user's own text files and pair files as data sets."""

import dataclasses
from collections.abc import Callable, Iterator

import ml_collections

from elmer_jax.core.errors import UserError
from elmer_jax.data.datasets.dataset import DatasetSpec, Item, Kind
from elmer_jax.data.datasets.held_out_split import with_held_out_split
from elmer_jax.data.readers import file_format
from elmer_jax.data.readers.documents_and_pairs import read_documents, read_pairs
from elmer_jax.data.readers.file_format import DEFAULT_OPTIONS, ReadOptions
from elmer_jax.data.readers.text_files import estimate_characters, expand_files


@dataclasses.dataclass(frozen=True)
class OwnFiles:
  """The user's files: comma-separated names and patterns, as `expand_files` takes them.

  Attributes:
    train: files to train on; a part is held out for validation unless `validation` is
      given.
    validation: files to validate on, or "".
    test: files to test on, or "".
    options: how to read them.
  """

  train: str
  validation: str = ""
  test: str = ""
  options: ReadOptions = DEFAULT_OPTIONS


def configured_dataset(config: ml_collections.ConfigDict, name: str) -> DatasetSpec:
  """Returns the data set of the user's own files that a configuration names.

  Raises:
    UserError: as `text_files_dataset`; or there is a test file for a pre-training.
  """
  data = config.data
  options = ReadOptions(
    data.text_field, data.source_field, data.target_field, data.encoding
  )
  files = OwnFiles(data.files, data.validation_files, data.test_files, options)
  if config.objective.name != "lplm":
    return pair_files_dataset(name, files)
  if files.test:
    raise UserError("data.test_files: a pre-training has no test, but validation_files")
  return text_files_dataset(name, files)


def text_files_dataset(name: str, files: str | OwnFiles) -> DatasetSpec:
  """Returns an LPLM data set of the user's documents.

  Args:
    name: of the data set.
    files: those to train on, or all.

  Raises:
    UserError: a file is missing, empty or not text.
  """
  files = OwnFiles(files) if isinstance(files, str) else files
  return _files_dataset(name, "lplm", files, read_documents)


def pair_files_dataset(name: str, files: str | OwnFiles) -> DatasetSpec:
  """Returns a data set of the user's (source, target) pairs.

  Args and errors as for `text_files_dataset`.
  """
  files = OwnFiles(files) if isinstance(files, str) else files
  return _files_dataset(name, "pairs", files, read_pairs)


def with_distilled_training_split(spec: DatasetSpec, files: str) -> DatasetSpec:
  """Returns a data set of pairs with its training split replaced by those in files.

  Raises:
    UserError: a file is missing, empty or not text.
  """
  paths = expand_files(files)

  def read(split: str) -> Iterator[Item]:
    if split == "train":
      return read_pairs(paths)
    return spec.read(split)

  def size(split: str) -> int:
    return estimate_characters(paths) if split == "train" else spec.size(split)

  return dataclasses.replace(spec, read=read, size=size if spec.size else None)


def _files_dataset(
  name: str, kind: Kind, files: OwnFiles, reader: Callable
) -> DatasetSpec:
  options = files.options
  named = {"train": files.train, "validation": files.validation, "test": files.test}
  paths = {s: expand_files(f, options.encoding) for s, f in named.items() if f}
  for split in paths.keys() - {"train"}:
    for path in set(paths[split]) & set(paths["train"]):
      raise UserError(f"{path} is in data.files and data.{split}_files: name it once")
  for group in paths.values():
    file_format.log_formats(group, kind, options)

  def read(split: str) -> Iterator[Item]:
    return reader(paths[split], options)

  def size(split: str) -> float:
    return estimate_characters(paths[split])

  if "validation" in paths:
    return DatasetSpec(name, kind, read, tuple(paths), size)
  spec = with_held_out_split(name, kind, lambda: read("train"), lambda: size("train"))
  return _with_test_split(spec, read) if "test" in paths else spec


def _with_test_split(
  spec: DatasetSpec, read_files: Callable[[str], Iterator[Item]]
) -> DatasetSpec:
  def read(split: str) -> Iterator[Item]:
    return read_files(split) if split == "test" else spec.read(split)

  return dataclasses.replace(spec, read=read, splits=(*spec.splits, "test"))
