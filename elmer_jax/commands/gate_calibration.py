# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Fits the gate of a finished run and chooses its threshold on held-out texts."""

import time
from collections.abc import Iterator

import ml_collections
import numpy as np
from absl import logging

from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.commands.run_folder import claim_run_folder
from elmer_jax.core import compile_cache
from elmer_jax.core.errors import UserError
from elmer_jax.data import loader
from elmer_jax.decoding.gate import (
  exit_quality,
  gate_file,
  gate_fitting,
  gated_decoding,
  threshold_choice,
)
from elmer_jax.generation import api

_BATCH = 16


def calibrate(
  config: ml_collections.ConfigDict,
  workdir: str,
  measure: str = "rougeL",
  loss: float = 0.3,
  confidence: float = 0.95,
  trim: int = 0,
  texts: int = 1000,
) -> dict:
  """Stores a calibrated gate with the newest checkpoint of a run.

  Args:
    config: of the run.
    workdir: its folder.
    measure: what the loss is measured in: "rougeL", or "agreement", the percentage of
      tokens that are those of all layers.
    loss: what texts may lose on average against all layers, in points of the measure.
    confidence: in [0.5, 1), that the loss is not exceeded.
    trim: after this many layers the positions after the text are dropped; 0: none are.
    texts: of the training and of the validation split, at most.

  Returns:
    The threshold and what it was chosen for, as JSON.

  Raises:
    UserError: an argument is out of range, the model can't have a gate, or no threshold
      keeps to the loss.
  """
  if not 0 <= loss <= 100:
    raise UserError(f"--loss must be from 0 to 100 points; it is {loss}")
  if not 0.5 <= confidence < 1:
    raise UserError(f"--confidence must be in [0.5, 1); it is {confidence}")
  if trim >= config.model.decoder_layers:
    raise UserError(f"--trim={trim} must be below model.decoder_layers")
  folder, step = orbax_checkpoint.find_checkpoint(workdir)
  claim_run_folder(config, workdir)
  compile_cache.cache_programs(workdir)
  model = api.load(workdir)
  gated_decoding.check(model.objective, model.config)
  start = time.monotonic()
  train = _batches(config, workdir, model, "train", texts)
  gate = gate_fitting.fit(
    model.config,
    model.decoding_params,
    (batch["source_ids"] for batch in train),
    model.target_length,
  )
  fitted = time.monotonic()
  outcomes = _outcomes(config, workdir, model, gate, measure, trim, texts)
  for row in threshold_choice.static_depths(outcomes, confidence):
    logging.info(
      "depth %d: loses %.2f, at most %.2f (%s)",
      row.max_layers,
      row.loss,
      row.bound,
      measure,
    )
  least = max(2, trim + 1)  # a gate needs two layers, and one after the dropping
  candidates = threshold_choice.gate_thresholds(outcomes, confidence, least)
  row = threshold_choice.cheapest(candidates, loss)
  gate = gated_decoding.cut(gate, row.max_layers)
  report = {
    "measure": measure,
    "stated_loss": loss,
    "confidence": confidence,
    "texts": len(outcomes.quality_NxL),
    "full_depth": round(float(outcomes.full_N.mean()), 3),
    "loss": round(row.loss, 3),
    "loss_at_most": round(row.bound, 3),
    "mean_layers": round(row.mean_layers, 3),
    "most_layers": row.max_layers,
  }
  gate_file.write(
    folder / str(step), gate_file.Calibrated(gate, row.threshold, trim, report)
  )
  logging.info(
    "gate of step %d: fitted in %.1f s, calibrated in %.1f s; threshold %.4f: "
    "%.2f of %d layers, at most %d, loses %.2f, at most %.2f",
    *(step, fitted - start, time.monotonic() - fitted, row.threshold, row.mean_layers),
    *(model.config.decoder_layers, row.max_layers, row.loss, row.bound),
  )
  return {"threshold": row.threshold, "trim": trim, **report}


def _outcomes(
  config: ml_collections.ConfigDict,
  workdir: str,
  model: api.Model,
  gate: gated_decoding.Gate,
  measure: str,
  trim: int,
  texts: int,
) -> threshold_choice.Outcomes:
  """Runs texts of the validation split through all layers."""
  held_out = list(_batches(config, workdir, model, "validation", texts))
  targets = np.concatenate([batch["target_ids"] for batch in held_out])
  return threshold_choice.collect_outcomes(
    model.config,
    model.decoding_params,
    gate,
    (batch["source_ids"] for batch in held_out),
    model.target_length,
    exit_quality.make(measure, model.vocabulary, targets),
    trim,
  )


def _batches(
  config: ml_collections.ConfigDict,
  workdir: str,
  model: api.Model,
  split: str,
  texts: int,
) -> Iterator[dict[str, np.ndarray]]:
  """Yields batches of the first examples of a split."""
  config = config.copy_and_resolve_references()
  config.data.batch_size = _BATCH
  data = loader.open_batches(config, workdir, model.vocabulary, split, single_pass=True)
  count = min(len(data), -(-texts // _BATCH))
  return (data[step] for step in range(count))
