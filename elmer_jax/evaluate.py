# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluates a checkpoint of a run, prints a table and writes a report.

    python -m elmer_jax.evaluate --workdir=DIR

A pre-training is evaluated on its validation split: DIR/evaluation/pretrain.json. A
fine-tuning is evaluated on its test split or, with `--split=validation` and where there
is no test split, on validation: DIR/evaluation/test.json (or validation.json) and, with
all outputs, predictions.jsonl (or validation_predictions.jsonl).

`--oracle_length` also decodes every text with the number of positions of its reference,
as the published code does. These results are marked in all files.
"""

import ml_collections
from absl import flags

from elmer_jax.commands import runner

_SPLIT = flags.DEFINE_enum(
  "split", None, ["test", "validation"], "The split to evaluate; by default see above."
)
_ORACLE = flags.DEFINE_bool(
  "oracle_length", False, "Also decode with the lengths of the references."
)
_WHICH = flags.DEFINE_string(
  "which", "latest", "The checkpoint: latest, best (by validation loss) or a step."
)


def main(config: ml_collections.ConfigDict, workdir: str) -> None:
  from elmer_jax.commands import pipeline, reporting

  found = pipeline.evaluate(
    config,
    workdir,
    _SPLIT.value,
    oracle_length=_ORACLE.value,
    which=_WHICH.value,
  )
  reporting.report_results(workdir, found.get("split"))


if __name__ == "__main__":
  runner.run(main)
