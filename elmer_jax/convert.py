# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Converts Hugging Face folders of BART and ELMER to checkpoints, and back.

    python -m elmer_jax.convert --input=DIR --output=DIR --to=elmer_jax|hf

Weights, sizes, tokenizer, lengths and generation settings are converted, an optimizer's
state is not. `load` and `init_from` open Hugging Face folders as they are; converting
one is only needed to set its objective with `--objective`.
"""

import os

from absl import flags

from elmer_jax.commands import runner

_INPUT = flags.DEFINE_string("input", None, "A run, a checkpoint or a folder.")
_OUTPUT = flags.DEFINE_string("output", None, "The folder to make; it must not exist.")
_TO = flags.DEFINE_enum("to", None, ["elmer_jax", "hf"], "The format to write.")
_OBJECTIVE = flags.DEFINE_string(
  "objective",
  None,
  "What a Hugging Face folder was trained with: lplm, soft_exit, hard_exit, "
  "last_layer or autoregressive. Default: soft_exit if it has the projection, else "
  "autoregressive.",
)


def main() -> None:
  source, output, form = map(runner.required, (_INPUT, _OUTPUT, _TO))
  from elmer_jax.checkpoints.conversion import convert

  convert(source, output, form, _OBJECTIVE.value)


if __name__ == "__main__":
  os.environ.setdefault("JAX_PLATFORMS", "cpu")  # nothing is computed
  runner.run_flags(main)
