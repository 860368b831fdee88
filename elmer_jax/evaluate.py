# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Measures what a run achieved and writes its report.

    python -m elmer_jax.evaluate --config=configs/NAME.py --workdir=DIR

A pre-training is measured on its validation split: WORKDIR/evaluation/pretrain.json. A
fine-tuning is measured on its test split, or with `--split=validation` on that, which
is what own pairs have: WORKDIR/evaluation/test.json (or validation.json) and, with all
outputs, predictions.jsonl (or validation_predictions.jsonl).

`--oracle_length` adds a row in which each text was given as many positions as its
reference has, as in the published code: to know how much that helps. Row, file and
outputs say so by name.
"""

from pathlib import Path

import ml_collections
from absl import flags

from elmer_jax.commands import runner

_SPLIT = flags.DEFINE_enum(
  "split", None, ["test", "validation"], "What is measured; see the top of the file."
)


_ORACLE = flags.DEFINE_bool(
  "oracle_length", False, "Also decode with the references' lengths, to compare."
)


def main(config: ml_collections.ConfigDict, workdir: str) -> None:
  from elmer_jax.commands import pipeline
  from elmer_jax.reports.run_report import write_report

  pipeline.evaluate(config, workdir, _SPLIT.value, oracle_length=_ORACLE.value)
  write_report([workdir], Path(workdir) / "report")


if __name__ == "__main__":
  runner.run(main)
