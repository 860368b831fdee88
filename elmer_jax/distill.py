# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""An autoregressive teacher writes the training targets anew, for others to learn.

    python -m elmer_jax.distill --config=TEACHER.py --workdir=TEACHER \\
        --output=FILE.jsonl [--beams=4]

`--config` and `--workdir` are those the teacher was trained with. FILE gets a line for
each pair of its training split, in their order: the source, and as target what the
teacher writes for it (the pair's own target where it writes nothing). A run that has
`--config.data.distilled=FILE` trains on these; its validation and test splits stay as
they are. Sequence-level knowledge distillation: Kim and Rush, 2016 (arXiv 1606.07947).

FILE appears once it is whole. What was written before an interruption stands beside it,
in a file that the same command goes on from.
"""

import ml_collections
from absl import flags

from elmer_jax.commands import runner
from elmer_jax.core.errors import UserError

_OUTPUT = flags.DEFINE_string("output", None, "The JSONL file to make.")
_BEAMS = flags.DEFINE_integer(
  "beams", None, "1 is greedy; default: as the teacher came.", 1
)
_BATCH = flags.DEFINE_integer("batch_size", 32, "Texts at a time.", 1)


def main(config: ml_collections.ConfigDict, workdir: str) -> None:
  from elmer_jax.core import compile_cache
  from elmer_jax.generation.distillation import distill

  if not _OUTPUT.value:
    raise UserError("--output is missing: the JSONL file to make")
  compile_cache.cache_programs()
  distill(config, workdir, _OUTPUT.value, _BEAMS.value, _BATCH.value)


if __name__ == "__main__":
  runner.run(main)
