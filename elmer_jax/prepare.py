# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Builds the vocabulary and the caches of a run, as far as they are missing.

    python -m elmer_jax.prepare --config=NAME --workdir=DIR

`data.task` is a task or mixture of the seqio registries. With files of your own in
`data.files` it is only a name: the files hold text for the objective lplm and pairs of
source and target for the others. For a public task `data.files` says where its files
are (`data.datasets.dataset_files`).
"""

import ml_collections

from elmer_jax.commands import runner


def main(config: ml_collections.ConfigDict, workdir: str) -> None:
  from elmer_jax.commands import pipeline

  pipeline.prepare(config, workdir)


if __name__ == "__main__":
  runner.run(main)
