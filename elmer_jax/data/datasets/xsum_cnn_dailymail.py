# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""News articles and their summaries, from TFDS.

xsum            an article and its first sentence, which was taken off it
cnn_dailymail   an article and its highlights, one a line
"""

from elmer_jax.data.datasets import tfds_sets
from elmer_jax.data.datasets.dataset import DatasetSpec

XSUM = tfds_sets.Prepared("xsum")
CNN_DAILYMAIL = tfds_sets.Prepared("cnn_dailymail")


def xsum() -> DatasetSpec:
  """Returns the spec `xsum`: TFDS's `document` and `summary`."""
  return _spec("xsum", XSUM, "document", "summary")


def cnn_dailymail() -> DatasetSpec:
  """Returns the spec `cnn_dailymail`: TFDS's `article` and `highlights`."""
  return _spec("cnn_dailymail", CNN_DAILYMAIL, "article", "highlights")


def _spec(
  name: str, prepared: tfds_sets.Prepared, source: str, target: str
) -> DatasetSpec:
  def pair(example: tfds_sets.Example) -> tuple[str, str] | None:
    texts = tuple(example[feature].decode().strip() for feature in (source, target))
    # XSum has a few articles without any text.
    return texts if all(texts) else None

  return tfds_sets.pairs_dataset(name, prepared, pair)
