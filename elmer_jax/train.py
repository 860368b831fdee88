# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Pre-trains or fine-tunes; the objective is configuration. Resumes by itself.

python -m elmer_jax.train --config=configs/NAME.py --workdir=DIR
"""

import ml_collections
from absl import flags

from elmer_jax.commands import runner

_DISTRIBUTED = flags.DEFINE_string(
  "distributed",
  "",
  "For a run of several processes: auto (TPU pods, Slurm, MPI), or HOST:PORT,COUNT,"
  "INDEX (where process 0 listens, how many there are, which one this is).",
)
_PATIENCE = flags.DEFINE_float(
  "distributed_timeout", 300, "Seconds that these processes wait for each other."
)


def main(config: ml_collections.ConfigDict, workdir: str) -> None:
  from elmer_jax.commands import pipeline

  pipeline.train(config, workdir, _DISTRIBUTED.value, _PATIENCE.value)


if __name__ == "__main__":
  runner.run(main)
