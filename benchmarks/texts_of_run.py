# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Test texts of a run as ids, for the programs that measure its exits."""

import ml_collections
import numpy as np

from elmer_jax.data import loader
from elmer_jax.generation import api

BATCH = 20  # texts at a time


def read(
  config: ml_collections.ConfigDict, workdir: str, model: api.Model, count: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns source ids [N, S] and target ids [N, T]; N is a multiple of BATCH."""
  config = config.copy_and_resolve_references()
  config.data.batch_size = BATCH
  data = loader.open_batches(
    config, workdir, model.vocabulary, "test", single_pass=True
  )
  chosen = [data[step] for step in range(min(len(data) - 1, count // BATCH))]
  return tuple(
    np.concatenate([batch[name] for batch in chosen])
    for name in ("source_ids", "target_ids")
  )
