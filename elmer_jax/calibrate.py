# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Gives a finished run a gate: texts stop at the layer where they are settled.

    python -m elmer_jax.calibrate --config=configs/NAME.py --workdir=DIR --loss=0.3

With the weights as they are, the gate is fitted on training sources; its threshold,
and the layers that no text goes beyond, are the cheapest that lose at most `--loss` on
the validation split, with `--confidence`, against all layers. They are stored with the
newest checkpoint, for `generate --exit=gated`. Beside it stands what `--depth=K` would
lose, which needs no gate.
"""

import json
import time
from collections.abc import Iterator

import ml_collections
import numpy as np
from absl import flags, logging

from elmer_jax.commands import runner
from elmer_jax.core.errors import UserError

_LOSS = flags.DEFINE_float("loss", 0.3, "What texts may lose on average, in points.", 0)
_MEASURE = flags.DEFINE_enum(
  "measure",
  "rougeL",
  ["rougeL", "agreement"],
  "What is lost: ROUGE-L, or the percentage of tokens that are those of all layers.",
)
_CONFIDENCE = flags.DEFINE_float(
  "confidence", 0.95, "That the loss is not exceeded; 0.5 takes the mean as it is."
)
_TRIM = flags.DEFINE_integer(
  "trim",
  0,
  "Behind so many layers the positions behind the text are dropped; 0: none are.",
  0,
)
_TEXTS = flags.DEFINE_integer("texts", 1000, "Texts of each split, at most.", 2)

_BATCH = 16


def main(config: ml_collections.ConfigDict, workdir: str) -> None:
  from elmer_jax.checkpoints import orbax_checkpoint
  from elmer_jax.commands import run_folder
  from elmer_jax.core import compile_cache
  from elmer_jax.decoding.gate import (
    exit_quality,
    gate_file,
    gate_fitting,
    gated_decoding,
  )
  from elmer_jax.generation import api

  if not 0.5 <= _CONFIDENCE.value < 1:
    raise UserError(f"--confidence lies in [0.5, 1); it is {_CONFIDENCE.value}")
  if _TRIM.value >= config.model.decoder_layers:
    raise UserError(f"--trim={_TRIM.value} must be below model.decoder_layers")
  orbax_checkpoint.use_its_vocabulary(config)
  run_folder.claim(config, workdir)
  compile_cache.cache_programs()
  model = api.load(workdir)
  gated_decoding.check(model.objective, model.config)
  length = model.target_length
  start = time.monotonic()
  train = _batches(config, workdir, model, "train")
  sources = (batch["source_ids"] for batch in train)
  gate = gate_fitting.fit(model.config, model.params, sources, length)
  fitted = time.monotonic()
  held_out = list(_batches(config, workdir, model, "validation"))
  targets = np.concatenate([batch["target_ids"] for batch in held_out])
  outcomes = gate_fitting.watch(
    model.config,
    model.params,
    gate,
    (batch["source_ids"] for batch in held_out),
    length,
    exit_quality.make(_MEASURE.value, model.vocabulary, targets),
    _TRIM.value,
  )
  for row in gate_fitting.static_rows(outcomes, _CONFIDENCE.value):
    logging.info(
      "depth %d: loses %.2f, at most %.2f (%s)",
      *(row.most, row.loss, row.bound, _MEASURE.value),
    )
  least = max(2, _TRIM.value + 1)  # a gate has two layers; one sees what was dropped
  row = gate_fitting.choose(
    gate_fitting.gate_rows(outcomes, _CONFIDENCE.value, least), _LOSS.value
  )
  gate = gated_decoding.cut(gate, row.most)
  stated = {
    "measure": _MEASURE.value,
    "stated_loss": _LOSS.value,
    "confidence": _CONFIDENCE.value,
    "texts": len(outcomes.quality_NxL),
    "full_depth": round(float(outcomes.full_N.mean()), 3),
    "loss": round(row.loss, 3),
    "loss_at_most": round(row.bound, 3),
    "mean_layers": round(row.layers, 3),
    "most_layers": row.most,
  }
  folder, step = orbax_checkpoint.find_checkpoint(workdir)
  gate_file.write(
    folder / str(step), gate_file.Calibrated(gate, row.threshold, _TRIM.value, stated)
  )
  logging.info(
    "gate of update %d: fitted in %.1f s, calibrated in %.1f s; threshold %.4f: "
    "%.2f of %d layers, at most %d, loses %.2f, at most %.2f",
    *(step, fitted - start, time.monotonic() - fitted, row.threshold, row.layers),
    *(model.config.decoder_layers, row.most, row.loss, row.bound),
  )
  print(json.dumps({"threshold": row.threshold, "trim": _TRIM.value, **stated}))


def _batches(
  config: ml_collections.ConfigDict, workdir: str, model, split: str
) -> Iterator[dict[str, np.ndarray]]:
  """Yields batches of the first `--texts` examples of a split."""
  from elmer_jax.data import loader

  config = config.copy_and_resolve_references()
  config.data.batch_size = _BATCH
  data = loader.open_batches(config, workdir, model.vocabulary, split, single_pass=True)
  count = min(len(data), -(-_TEXTS.value // _BATCH))
  return (data[step] for step in range(count))


if __name__ == "__main__":
  runner.run(main)
