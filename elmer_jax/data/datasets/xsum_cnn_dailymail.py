# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""News articles and their summaries, from TFDS.

xsum            an article without its first sentence, and that sentence
cnn_dailymail   an article and its highlights, one a line
"""

from collections.abc import Iterator

from elmer_jax.data.datasets.dataset import DatasetSpec
from elmer_jax.data.datasets.tfds_datasets import Example, TfdsDataset


def xsum() -> DatasetSpec:
  """Returns the data set `xsum`: TFDS's `document` and `summary`."""
  return _summaries("xsum", "document", "summary")


def cnn_dailymail() -> DatasetSpec:
  """Returns the data set `cnn_dailymail`: TFDS's `article` and `highlights`."""
  return _summaries("cnn_dailymail", "article", "highlights")


def _summaries(name: str, source: str, target: str) -> DatasetSpec:
  tfds_dataset = TfdsDataset(name)

  def pair(example: Example) -> tuple[str, str] | None:
    texts = tuple(example[feature].decode().strip() for feature in (source, target))
    # XSum has a few articles without text.
    return texts if all(texts) else None

  def read(split: str) -> Iterator[tuple[str, str]]:
    return filter(None, map(pair, tfds_dataset.examples(split)))

  return DatasetSpec(name, "pairs", read, size=tfds_dataset.size)
