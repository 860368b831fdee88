# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion between checkpoints and Hugging Face folders."""

import math
from pathlib import Path

from absl import logging

from elmer_jax import objectives
from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.checkpoints.huggingface import bart_names, hf_folder
from elmer_jax.core.errors import UserError
from elmer_jax.core.paths import local_path
from elmer_jax.tokenizer.bpe import Vocabulary


def convert(source: str, output: str, form: str, objective: str | None = None) -> None:
  """Writes weights, and everything that belongs to them, in another format.

  Args:
    source: a run, a checkpoint or a Hugging Face folder.
    output: the folder to make.
    form: "hf" or "elmer_jax".
    objective: what the weights were trained with; by default what `source` says.

  Raises:
    UserError: there are no weights, they have no such form, or `output` exists.
  """
  if objective not in (None, *objectives.NAMES):
    known = ", ".join(objectives.NAMES)
    raise UserError(f"--objective is one of {known}; not {objective!r}")
  folder = Path(local_path(output, "--output"))
  if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
    raise UserError(f"--output={output} exists already: name a new folder")

  loaded = orbax_checkpoint.load(local_path(source, "--input"))
  vocabulary = Vocabulary.load(loaded.vocabulary)
  metadata = loaded.metadata
  if objective:
    metadata = metadata | {"objective": {"name": objective}}
  if metadata["objective"]["name"] == "soft_exit" and not loaded.config.soft_exit:
    raise UserError(f"{source} has no soft-exit projection (concat_head.weight)")
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f"--output={output} can't be made: {error.strerror}") from None
  if loaded.gate:
    logging.info("the gate is left out: `calibrate` makes another")
  if form == "hf":
    hf_folder.write(str(folder), loaded.config, loaded.params, metadata, vocabulary)
  else:
    vocabulary.save(folder / "vocabulary")
    orbax_checkpoint.save_params(str(folder), loaded.config, loaded.params, metadata)
  shapes = bart_names.shapes(loaded.config)
  del shapes[bart_names.BIAS]  # a constant that BART's files carry
  logging.info(
    "%s parameters written to %s, for objective %s",
    f"{sum(map(math.prod, shapes.values())):,}",
    *(output, metadata["objective"]["name"]),
  )
