# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The user's own text files and pair files as data sets."""

import dataclasses
from collections.abc import Iterator

from elmer_jax.data.datasets.dataset import DatasetSpec, Item, Kind
from elmer_jax.data.datasets.held_out_split import with_held_out_split
from elmer_jax.data.readers import documents_and_pairs


def text_files_dataset(name: str, files: str) -> DatasetSpec:
  """Returns an LPLM data set of text files, with a held-out validation split.

  Args:
    name: of the data set.
    files: comma-separated names and patterns, see `documents_and_pairs.expand_files`.

  Raises:
    UserError: a file is missing, empty or not text.
  """
  return _files_dataset(name, "lplm", files, documents_and_pairs.read_documents)


def pair_files_dataset(name: str, files: str) -> DatasetSpec:
  """Returns a data set of (source, target) pairs from JSONL or TSV files.

  Args and errors as for `text_files_dataset`.
  """
  return _files_dataset(name, "pairs", files, documents_and_pairs.read_pairs)


def with_distilled_training_split(spec: DatasetSpec, files: str) -> DatasetSpec:
  """Returns a data set of pairs with its training split replaced by those in files.

  Raises:
    UserError: a file is missing, empty or not text.
  """
  paths = documents_and_pairs.expand_files(files)

  def read(split: str) -> Iterator[Item]:
    if split == "train":
      return documents_and_pairs.read_pairs(paths)
    return spec.read(split)

  def size(split: str) -> int:
    return documents_and_pairs.size_of(paths) if split == "train" else spec.size(split)

  return dataclasses.replace(spec, read=read, size=size if spec.size else None)


def _files_dataset(name: str, kind: Kind, files: str, reader) -> DatasetSpec:
  paths = documents_and_pairs.expand_files(files)
  return with_held_out_split(
    name, kind, lambda: reader(paths), lambda: documents_and_pairs.size_of(paths)
  )
