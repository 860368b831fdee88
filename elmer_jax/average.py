# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Averages the weights of a run's newest checkpoints.

    python -m elmer_jax.average --workdir=RUN --output=DIR --last=5

Train with --config.checkpoint.max_to_keep of at least as many. DIR becomes a run's
folder with one checkpoint, under the step of the newest averaged one: `generate`,
`convert`, `evaluate` and `init_from` read it.
"""

import os

from absl import flags

from elmer_jax.commands import runner
from elmer_jax.core.paths import local_path

_WORKDIR = flags.DEFINE_string("workdir", None, "The folder of a run.")
_INPUT = flags.DEFINE_string("input", None, "Another name of --workdir.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to create; must not exist.")
_LAST = flags.DEFINE_integer("last", 5, "Number of newest checkpoints to average.", 1)


def main() -> None:
  run = local_path(_INPUT.value or runner.required(_WORKDIR), "--workdir")
  output = local_path(runner.required(_OUTPUT), "--output")
  from elmer_jax.checkpoints.averaging import average

  average(run, output, _LAST.value)


if __name__ == "__main__":
  os.environ.setdefault("JAX_PLATFORMS", "cpu")  # little is computed
  runner.run_flags(main)
