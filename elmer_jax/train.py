# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Pre-trains or fine-tunes; the objective is configuration. Resumes by itself.

python -m elmer_jax.train --config=configs/NAME.py --workdir=DIR
"""

import ml_collections
from absl import flags, logging

from elmer_jax import command

_DISTRIBUTED = flags.DEFINE_string(
  "distributed",
  "",
  "For a run of several processes: auto (TPU pods, Slurm, MPI), or HOST:PORT,COUNT,"
  "INDEX (where process 0 listens, how many there are, which one this is).",
)


def main(config: ml_collections.ConfigDict, workdir: str) -> None:
  from elmer_jax import compilation, configuration, objectives
  from elmer_jax.parallel import processes
  from elmer_jax.prepare import prepare
  from elmer_jax.training import checkpoint, loop, memory, workdirs
  from elmer_jax.training.metrics import record_seconds
  from elmer_jax.training.optimizer import make_optimizer

  # What can be refused is refused before anything is prepared.
  configuration.check(config)
  objectives.get(config)
  make_optimizer(config)
  checkpoint.use_its_vocabulary(config)
  processes.start(_DISTRIBUTED.value)
  processes.check_agreement(config)
  processes.first_alone("claim", lambda: workdirs.claim(config, workdir))
  if checkpoint.is_finished(workdir, config.train.steps):
    logging.info("%s is trained already: %d updates", workdir, config.train.steps)
    return
  compilation.cache_programs()
  vocabulary = processes.first_alone("prepare", lambda: prepare(config, workdir))
  with memory.explained(config):
    seconds = loop.train(config, workdir, vocabulary)
  if processes.is_first():
    record_seconds(workdir, "train", seconds)


if __name__ == "__main__":
  command.run(main)
