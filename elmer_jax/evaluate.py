# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Measures what a run achieved and writes its report.

    python -m elmer_jax.evaluate --config=configs/NAME.py --workdir=DIR

A pre-training is measured on its validation split: WORKDIR/evaluation/pretrain.json. A
fine-tuning is measured on its test split, or with `--split=validation` on that, which
is what own pairs have: WORKDIR/evaluation/test.json (or validation.json) and, with all
outputs, predictions.jsonl (or validation_predictions.jsonl).
"""

import json
import time
from pathlib import Path

import ml_collections
from absl import flags, logging

from elmer_jax import command
from elmer_jax.data import public_files
from elmer_jax.errors import UserError

_SPLIT = flags.DEFINE_enum(
  "split", None, ["test", "validation"], "What is measured; see the top of the file."
)


def main(config: ml_collections.ConfigDict, workdir: str) -> None:
  from elmer_jax.evaluation.report import write_report
  from elmer_jax.training import checkpoint, workdirs
  from elmer_jax.training.metrics import record_seconds

  checkpoint.use_its_vocabulary(config)
  workdirs.claim(config, workdir)
  _, step = checkpoint.find(workdir)
  split = _split(config)
  name = "pretrain" if config.objective.name == "lplm" else split
  result = Path(workdir) / "evaluation" / f"{name}.json"
  if result.exists() and json.loads(result.read_text())["checkpoint_step"] == step:
    logging.info("%s is evaluated already: update %d", workdir, step)
  else:
    start = time.monotonic()
    result.parent.mkdir(exist_ok=True)
    _evaluate(config, workdir, split, step, result)
    record_seconds(workdir, "evaluate", time.monotonic() - start)
  write_report([workdir], Path(workdir) / "report")


def _split(config: ml_collections.ConfigDict) -> str:
  """Returns the split to measure; own pairs have no test split."""
  if config.objective.name == "lplm":
    if _SPLIT.value == "test":
      raise UserError(
        "--split=test: a pre-training is measured on its validation split"
      )
    return "validation"
  own = public_files.has_own_files(config)
  return _SPLIT.value or ("validation" if own else "test")


def _evaluate(
  config: ml_collections.ConfigDict, workdir: str, split: str, step: int, result: Path
) -> None:
  from elmer_jax import api, compilation
  from elmer_jax.files import write_whole

  compilation.cache_programs()
  model = api.load(workdir)
  if config.objective.name == "lplm":
    from elmer_jax.evaluation.pretraining import evaluate_pretraining

    found = evaluate_pretraining(config, workdir, model)
  else:
    from elmer_jax.evaluation.finetuning import evaluate_finetuning

    found, predictions = evaluate_finetuning(config, workdir, model, split)
    prefix = "" if split == "test" else f"{split}_"
    lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in predictions]
    write_whole(result.with_name(f"{prefix}predictions.jsonl"), "".join(lines))
  write_whole(result, json.dumps({"checkpoint_step": step, **found}, indent=1))


if __name__ == "__main__":
  command.run(main)
