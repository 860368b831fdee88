# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Averages the weights of a run's last checkpoints.

    python -m elmer_jax.average --workdir=RUN --output=DIR --last=5

Set --config.checkpoint.max_to_keep at least as high when training. DIR becomes a run's
folder with this one checkpoint, which has the number of the newest one: `generate`,
`convert`, `evaluate` and `init_from` take it.
"""

import os

from absl import flags

from elmer_jax.commands import runner

_WORKDIR = flags.DEFINE_string("workdir", None, "The folder of a run.")
_INPUT = flags.DEFINE_string("input", None, "Another name of --workdir.")
_OUTPUT = flags.DEFINE_string("output", None, "The folder to make; it must not exist.")
_LAST = flags.DEFINE_integer("last", 5, "The number of checkpoints, newest first.", 1)


def main() -> None:
  run = _INPUT.value or runner.required(_WORKDIR)
  output = runner.required(_OUTPUT)
  from elmer_jax.checkpoints.averaging import average

  average(run, output, _LAST.value)


if __name__ == "__main__":
  os.environ.setdefault("JAX_PLATFORMS", "cpu")  # little is computed
  runner.run_flags(main)
