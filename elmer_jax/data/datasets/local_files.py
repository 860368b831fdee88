# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The user's own text files and pair files as data sets."""

import dataclasses
from collections.abc import Iterator

from elmer_jax.data.datasets.dataset import DatasetSpec, Item, Kind
from elmer_jax.data.datasets.held_out_split import with_held_out_split
from elmer_jax.data.readers.documents_and_pairs import read_documents, read_pairs
from elmer_jax.data.readers.text_files import estimate_characters, expand_files


def text_files_dataset(name: str, files: str) -> DatasetSpec:
  """Returns an LPLM data set of text files, with a held-out validation split.

  Args:
    name: of the data set.
    files: comma-separated names and patterns, see `text_files.expand_files`.

  Raises:
    UserError: a file is missing, empty or not text.
  """
  return _files_dataset(name, "lplm", files, read_documents)


def pair_files_dataset(name: str, files: str) -> DatasetSpec:
  """Returns a data set of (source, target) pairs from JSONL or TSV files.

  Args and errors as for `text_files_dataset`.
  """
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


def _files_dataset(name: str, kind: Kind, files: str, reader) -> DatasetSpec:
  paths = expand_files(files)
  return with_held_out_split(
    name, kind, lambda: reader(paths), lambda: estimate_characters(paths)
  )
