# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Generates the training targets of a run with its model, for other runs.

    python -m elmer_jax.distill --workdir=TEACHER --output=FILE.jsonl [--beams=4]

The teacher is autoregressive. FILE gets a line for each pair of its training split, in
their order: the source, and as target the generated text (the pair's own target where
that is empty). A run with `--config.data.distilled=FILE` trains on these pairs; its
validation and test splits stay as they are. Sequence-level knowledge distillation: Kim
and Rush, 2016 (arXiv 1606.07947).

FILE appears once it is complete. An interrupted start leaves a file beside it, from
which the same command continues.
"""

import ml_collections
from absl import flags

from elmer_jax.commands import runner
from elmer_jax.core.paths import local_path

_OUTPUT = flags.DEFINE_string("output", None, "The JSONL file to write.")
_BEAMS = flags.DEFINE_integer(
  "beams", None, "1 is greedy; by default as the checkpoint says.", 1
)
_BATCH = flags.DEFINE_integer("batch_size", 32, "Texts in a batch.", 1)


def main(config: ml_collections.ConfigDict, workdir: str) -> None:
  output = local_path(runner.required(_OUTPUT), "--output")
  from elmer_jax.commands import pipeline

  pipeline.distill(config, workdir, output, _BEAMS.value, _BATCH.value)


if __name__ == "__main__":
  runner.run(main)
