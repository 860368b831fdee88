# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The corpora on which ELMER was pre-trained: Wikipedia and books, whole documents.

wikipedia_lplm   TFDS `wikipedia` (the newest English configuration that is prepared on
                 this machine), or files
books_lplm       files only: BookCorpus is not in TFDS

Files are text or JSONL with a field `text`, see `documents_and_pairs.read_documents`.
Neither data set has a validation split, so some documents are held out.
"""

import dataclasses
import functools
from collections.abc import Iterator

from elmer_jax.core.errors import UserError
from elmer_jax.data.datasets.dataset import DatasetSpec, files_flag
from elmer_jax.data.datasets.held_out_split import with_held_out_split
from elmer_jax.data.datasets.local_files import text_files_dataset
from elmer_jax.data.datasets.tfds_datasets import TfdsDataset

WIKIPEDIA = TfdsDataset(
  "wikipedia", configs=r"[0-9]{8}\.en", build="20230601.en", task="wikipedia_lplm"
)


def wikipedia() -> DatasetSpec:
  """Returns the data set `wikipedia_lplm`."""

  def read_all() -> Iterator[str]:
    texts = (example["text"].decode() for example in WIKIPEDIA.examples("train"))
    return filter(None, (text.strip() for text in texts))

  return _readable_from_files(
    with_held_out_split(
      "wikipedia_lplm", "lplm", read_all, lambda: WIKIPEDIA.size("train")
    )
  )


def books() -> DatasetSpec:
  """Returns the data set `books_lplm`."""

  def no_files(split: str):
    raise UserError(f"books_lplm is read from files only: {files_flag('books_lplm')}")

  return _readable_from_files(
    DatasetSpec("books_lplm", "lplm", no_files, ("train", "validation"), no_files)
  )


def _readable_from_files(spec: DatasetSpec) -> DatasetSpec:
  from_files = functools.partial(text_files_dataset, spec.name)
  return dataclasses.replace(spec, from_files=from_files)
