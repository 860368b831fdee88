# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Builds the vocabulary and the cache of a run, or finishes what is there.

    python -m elmer_jax.prepare --config=configs/NAME.py --workdir=DIR

`data.task` is a task or mixture of the seqio registries; where `data.files` names files
of the user's own, it is only the name that they go by. They hold text for the objective
lplm and pairs of source and target for the others. For a public task `data.files` says
where its files lie (`data.public_files`).
"""

import time

import ml_collections

from elmer_jax.commands import runner
from elmer_jax.data import prepared_data
from elmer_jax.data.preparation import prepare


def main(config: ml_collections.ConfigDict, workdir: str) -> None:
  from elmer_jax import configuration
  from elmer_jax.checkpoints import orbax_checkpoint
  from elmer_jax.commands import run_folder
  from elmer_jax.training.metric_writer import record_stage_seconds

  configuration.check(config)
  orbax_checkpoint.use_its_vocabulary(config)
  run_folder.claim(config, workdir)
  is_new = prepared_data.read_parts(config, workdir) is None
  start = time.monotonic()
  prepare(config, workdir)
  if is_new:
    record_stage_seconds(workdir, "prepare", time.monotonic() - start)


if __name__ == "__main__":
  runner.run(main)
