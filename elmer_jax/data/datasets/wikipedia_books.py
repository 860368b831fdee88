# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What ELMER was pre-trained on: Wikipedia and books, whole documents.

wikipedia_lplm   TFDS `wikipedia` (the newest English configuration that is prepared on
                 this machine), or files
books_lplm       files alone: BookCorpus is not in TFDS

Files are text or JSONL with a field `text`, see `sources.read_documents`. Neither set
has a validation split, so some documents are held out, see `spec.with_held_out_split`.
"""

import functools
from collections.abc import Iterator

from elmer_jax.core.errors import UserError
from elmer_jax.data.datasets import tfds_sets
from elmer_jax.data.datasets.dataset import DatasetSpec
from elmer_jax.data.datasets.held_out_split import with_held_out_split
from elmer_jax.data.datasets.local_files import text_files_dataset

WIKIPEDIA = tfds_sets.Prepared(
  "wikipedia",
  configs=r"[0-9]{8}\.en",
  build="20230601.en",
  files="name files: --config.data.files='wikipedia_lplm=FILES' (in seqio "
  "tasks.use_files)",
)


def wikipedia() -> DatasetSpec:
  """Returns the spec `wikipedia_lplm`."""

  def read_all() -> Iterator[str]:
    texts = (example["text"].decode() for example in WIKIPEDIA.examples("train"))
    return filter(None, (text.strip() for text in texts))

  spec = with_held_out_split(
    "wikipedia_lplm", "lplm", read_all, lambda: WIKIPEDIA.size("train")
  )
  return _with_files(spec)


def books() -> DatasetSpec:
  """Returns the spec `books_lplm`."""

  def missing(split: str):
    raise UserError(
      "books_lplm is read from files alone: --config.data.files='books_lplm=FILES' (in "
      "seqio tasks.use_files)"
    )

  splits = ("train", "validation")
  return _with_files(DatasetSpec("books_lplm", "lplm", missing, splits, missing))


def _with_files(spec: DatasetSpec) -> DatasetSpec:
  from_files = functools.partial(text_files_dataset, spec.name)
  return DatasetSpec(
    spec.name, spec.kind, spec.read, spec.splits, spec.size, from_files
  )
