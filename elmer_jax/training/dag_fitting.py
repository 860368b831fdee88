# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Fits the decoding of a DAG checkpoint at the end of its training."""

import time
from collections.abc import Iterator

import ml_collections
import numpy as np
from absl import logging

from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.data import prepared_data
from elmer_jax.decoding import dag_settings, decoding_model, token_pairs
from elmer_jax.tokenizer.bpe import Vocabulary
from elmer_jax.tokenizer.special_ids import EOS_ID
from elmer_jax.training.validation import validation_batches

_TEXTS = 200_000  # training targets whose token pairs are counted, of each task


def fit_decoding(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Fits and stores what Viterbi search needs with the newest checkpoint of a run.

  Token pairs are counted in the training targets; their weight and the length exponent
  are those with the best ROUGE on the run's validation batches.
  """
  start = time.monotonic()
  loaded = orbax_checkpoint.load(workdir)
  vocabulary = Vocabulary.load(loaded.vocabulary)
  pairs = token_pairs.count(_targets(config, workdir, vocabulary), vocabulary)
  settings, rouge = dag_settings.fit(
    loaded.config,
    decoding_model.prepare(loaded.config, loaded.params),
    loaded.dag.options,
    pairs,
    vocabulary,
    validation_batches(config, workdir, vocabulary),
  )
  folder, step = orbax_checkpoint.find_checkpoint(workdir)
  dag_settings.write(folder / str(step), settings)
  logging.info(
    "Viterbi search: length exponent %g, pair weight %g: mean ROUGE %.1f on "
    "validation data, fitted in %.0f s",
    settings.length_exponent,
    settings.pair_weight,
    rouge,
    time.monotonic() - start,
  )


def _targets(
  config: ml_collections.ConfigDict, workdir: str, vocabulary: Vocabulary
) -> Iterator[np.ndarray]:
  """Yields the ids of training targets, each with EOS."""
  for cache, _ in prepared_data.open_caches(config, workdir, vocabulary, "train"):
    for index in range(min(len(cache), _TEXTS)):
      yield np.append(cache[index][cache.features[-1]], EOS_ID)
