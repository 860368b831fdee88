# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Pre-trains or fine-tunes a model, or continues to do so.

    python -m elmer_jax.train --config=NAME --workdir=DIR
    python -m elmer_jax.train --workdir=DIR --config.train.steps=2000

The objective is a key of the configuration. The second form continues a run.
"""

import ml_collections
from absl import flags

from elmer_jax.commands import runner

_DISTRIBUTED = flags.DEFINE_string(
  "distributed",
  "",
  "For a run of several processes: auto (TPU pods, Slurm, MPI), or HOST:PORT,COUNT,"
  "INDEX: the address of process 0, the number of processes, the index of this one.",
)
_TIMEOUT = flags.DEFINE_float(
  "distributed_timeout", 300, "Seconds that these processes wait for each other."
)
_HEARTBEAT_TIMEOUT = flags.DEFINE_float(
  "heartbeat_timeout",
  100,
  "Seconds after which a machine that no longer answers counts as lost; the other "
  "processes then end with status 75. A process that is killed is noticed at once.",
)


def main(config: ml_collections.ConfigDict, workdir: str) -> None:
  from elmer_jax.commands import pipeline

  pipeline.train(
    config, workdir, _DISTRIBUTED.value, _TIMEOUT.value, _HEARTBEAT_TIMEOUT.value
  )


if __name__ == "__main__":
  runner.run(main)
