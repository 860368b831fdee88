# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Makes one checkpoint of a run's last ones: the mean of their weights.

    python -m elmer_jax.average --input=RUN --output=DIR --last=5

Set --config.checkpoint.max_to_keep at least as high when training. DIR is a run's
folder like RUN, with this one checkpoint, which has the number of the newest:
`generate`, `convert`, `init_from` and `evaluate` take it.
"""

import os

from absl import flags

from elmer_jax.commands.runner import run_flags
from elmer_jax.core.errors import UserError

_INPUT = flags.DEFINE_string("input", None, "The folder of a run.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to make; must not exist yet.")
_LAST = flags.DEFINE_integer("last", 5, "So many of the newest checkpoints.", 1)


def main() -> None:
  for flag in (_INPUT, _OUTPUT):
    if flag.value is None:
      raise UserError(f"--{flag.name} is missing")
  from elmer_jax.checkpoints.averaging import average

  average(_INPUT.value, _OUTPUT.value, _LAST.value)


if __name__ == "__main__":
  os.environ.setdefault("JAX_PLATFORMS", "cpu")  # little is computed
  run_flags(main)
