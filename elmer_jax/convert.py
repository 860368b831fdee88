# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Hugging Face folders of BART and ELMER to checkpoints, and back.

    python -m elmer_jax.convert --input=DIR --output=DIR --to=elmer_jax|hf

Weights, sizes, tokenizer, lengths and generation settings go along; an optimizer's
state doesn't. `load` and `init_from` open Hugging Face folders as they are: converting
one is for keeping it, and `--objective` for saying what it was trained with.
"""

import math
import os
from pathlib import Path

from absl import flags, logging

from elmer_jax.commands.runner import run_flags
from elmer_jax.core.errors import UserError

_INPUT = flags.DEFINE_string("input", None, "What to read: a folder or a checkpoint.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to make; must not exist yet.")
_TO = flags.DEFINE_enum("to", None, ["elmer_jax", "hf"], "What to write.")
_OBJECTIVE = flags.DEFINE_string(
  "objective",
  None,
  "What a Hugging Face folder was trained with: lplm, soft_exit, hard_exit, "
  "last_layer or autoregressive. Default: soft_exit if it has the projection, else "
  "autoregressive.",
)


def main() -> None:
  for flag in (_INPUT, _OUTPUT, _TO):
    if flag.value is None:
      raise UserError(f"--{flag.name} is missing")
  from elmer_jax import objectives
  from elmer_jax.checkpoints import orbax_checkpoint
  from elmer_jax.checkpoints.huggingface import bart_names, hf_folder
  from elmer_jax.tokenizer.bpe import Vocabulary

  if _OBJECTIVE.value not in (None, *objectives.NAMES):
    known = ", ".join(objectives.NAMES)
    raise UserError(f"--objective is one of {known}; not {_OBJECTIVE.value!r}")
  output = Path(_OUTPUT.value)
  if output.exists() and not (output.is_dir() and not any(output.iterdir())):
    raise UserError(f"--output={output} exists already: name a new folder")

  loaded = orbax_checkpoint.load(_INPUT.value)
  vocabulary = Vocabulary.load(loaded.vocabulary)
  metadata = loaded.metadata
  if _OBJECTIVE.value:
    metadata = metadata | {"objective": {"name": _OBJECTIVE.value}}
  if metadata["objective"]["name"] == "soft_exit" and not loaded.config.soft_exit:
    raise UserError(f"{_INPUT.value} has no soft-exit projection (concat_head.weight)")
  try:
    output.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f"--output={output} can't be made: {error.strerror}") from None
  if loaded.gate:
    logging.info("the gate is left out: `calibrate` makes another")
  if _TO.value == "hf":
    hf_folder.write(str(output), loaded.config, loaded.params, metadata, vocabulary)
  else:
    vocabulary.save(output / "vocabulary")
    orbax_checkpoint.save_params(str(output), loaded.config, loaded.params, metadata)
  shapes = bart_names.shapes(loaded.config)
  del shapes[bart_names.BIAS]  # a constant that BART's files carry
  logging.info(
    "%s parameters written to %s, for objective %s",
    f"{sum(map(math.prod, shapes.values())):,}",
    *(output, metadata["objective"]["name"]),
  )


if __name__ == "__main__":
  os.environ.setdefault("JAX_PLATFORMS", "cpu")  # nothing is computed
  run_flags(main)
