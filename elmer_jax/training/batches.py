# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The batches of a run on this process, and those that every evaluation uses."""

import ml_collections
import numpy as np

from elmer_jax.data import loader, prepared_data
from elmer_jax.tokenizer.bpe import Vocabulary


def open_batches(
  config: ml_collections.ConfigDict,
  workdir: str,
  vocabulary: Vocabulary,
  split: str,
  rows: np.ndarray | None = None,
  single_pass: bool = False,
) -> loader.Batches:
  """Returns these rows of the batches of a split; see `loader`."""
  return loader.open_batches(
    config, workdir, vocabulary, split, single_pass=single_pass, rows=rows
  )


def fixed_batches(
  config: ml_collections.ConfigDict,
  workdir: str,
  vocabulary: Vocabulary,
  rows: np.ndarray | None = None,
) -> list[dict[str, np.ndarray]]:
  """Returns `train.eval_batches` validation batches, the same ones for every run."""
  batches = open_batches(
    config, workdir, vocabulary, "validation", rows, single_pass=True
  )
  return [batches[step] for step in range(min(config.train.eval_batches, len(batches)))]


def unigram_counts(
  config: ml_collections.ConfigDict, workdir: str, vocabulary: Vocabulary
) -> np.ndarray:
  """Counts the target tokens of the training split, EOS included, int64 [V]."""
  caches = prepared_data.open_caches(config, workdir, vocabulary, "train")
  return sum(cache.unigrams() for cache, _ in caches)
