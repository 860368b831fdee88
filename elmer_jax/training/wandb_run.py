# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A run's metrics in Weights & Biases, the extra `wandb`."""

import importlib.util
import secrets
from pathlib import Path

import ml_collections

from elmer_jax.core.atomic_files import write_whole
from elmer_jax.core.errors import UserError

_ID_FILE = "wandb_id.txt"  # a resumed run continues its curves


def check(config: ml_collections.ConfigDict) -> None:
  """Raises `UserError` if `log.wandb` is set and the package is missing."""
  if config.log.wandb and importlib.util.find_spec("wandb") is None:
    raise UserError(
      f"log.wandb={config.log.wandb} needs the package wandb, the extra `wandb`: "
      "bash launch/install.sh wandb, or pip install wandb"
    )


class WandbRun:
  """The run of a folder in the project `log.wandb`."""

  def __init__(self, config: ml_collections.ConfigDict, workdir: str):
    import wandb

    folder = Path(workdir)
    if not (folder / _ID_FILE).exists():
      write_whole(folder / _ID_FILE, secrets.token_hex(8) + "\n")
    self._run = wandb.init(
      project=config.log.wandb,
      id=(folder / _ID_FILE).read_text("utf-8").strip(),
      name=folder.resolve().name,
      config=config.to_dict(),
      dir=workdir,
      resume="allow",
    )
    # Of its own counter, which a run that resumes from an earlier step can't turn back.
    self._run.define_metric("*", step_metric="step")

  def write(self, step: int, split: str, values: dict[str, float]) -> None:
    named = {f"{split}/{name}": value for name, value in values.items()}
    self._run.log({"step": step, **named})

  def close(self) -> None:
    self._run.finish()
