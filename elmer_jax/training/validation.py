# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Validation: the objective's means over fixed batches of the validation split."""

import jax
import ml_collections
import numpy as np

from elmer_jax.data import loader
from elmer_jax.parallel import sharding
from elmer_jax.tokenizer.bpe import Vocabulary
from elmer_jax.training.step import Program


def validation_batches(
  config: ml_collections.ConfigDict,
  workdir: str,
  vocabulary: Vocabulary,
  rows: np.ndarray | None = None,
) -> list[dict[str, np.ndarray]]:
  """Returns the first `train.eval_batches` validation batches, equal for all runs.

  Args:
    config, workdir, vocabulary: of the run.
    rows: of each batch that are read, see `loader.Batches`; by default all.
  """
  batches = loader.open_batches(
    config, workdir, vocabulary, "validation", single_pass=True, rows=rows
  )
  return [batches[step] for step in range(min(config.train.eval_batches, len(batches)))]


def validate(
  program: Program,
  params: dict,
  mesh: jax.sharding.Mesh,
  batches: list[dict[str, np.ndarray]],
  seed: int,
) -> dict[str, float]:
  """Returns the loss (nats) and the objective's metrics per target token."""
  total = None
  for number, rows in enumerate(batches):
    batch = sharding.global_batch(mesh, rows)
    sums = program.eval_step(params, batch, seed, number)
    total = sums if total is None else jax.tree.map(np.add, total, sums)
  tokens = float(total.tokens)
  means = {name: float(value) / tokens for name, value in total.metrics.items()}
  return {"loss": float(total.loss) / tokens, **means}
