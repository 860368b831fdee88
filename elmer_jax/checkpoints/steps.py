# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The steps of a folder of checkpoints: which there are, and which are kept.

A step is a folder that Orbax lists and that has parameters and metadata. Anything else
in the folder is ignored.
"""

import math
from collections.abc import Sequence
from typing import Any

import ml_collections
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers

from elmer_jax.core import json_files
from elmer_jax.core.errors import UserError

ITEMS = ("params", "optimizer", "metadata")
_ASIDE = "damaged"


class DamagedCheckpoint(UserError):
  """A checkpoint can't be read, or is not what was saved."""


def list_complete(folder: epath.Path) -> list[int]:
  """Returns the steps in ascending order."""
  if not folder.is_dir():
    return []
  listed = ocp.path.step.standard_name_format().find_all(folder)
  return sorted(found.step for found in listed if _is_complete(found.path))


def _is_complete(path: epath.Path) -> bool:
  return (path / "params").is_dir() and (path / "metadata" / "metadata").is_file()


def read_metadata(path: epath.Path) -> dict[str, Any]:
  """Reads the metadata of a checkpoint.

  Raises:
    DamagedCheckpoint: it can't be read.
  """
  try:
    return json_files.read_object(path / "metadata" / "metadata")
  except UserError as error:
    raise DamagedCheckpoint(str(error)) from None


def best_step(folder: epath.Path) -> int | None:
  """Returns the step with the lowest validation loss, None if no loss is known."""
  losses = {
    step: _validation_loss(folder / str(step)) for step in list_complete(folder)
  }
  known = {step: loss for step, loss in losses.items() if loss < math.inf}
  return min(known, key=known.get) if known else None


def _validation_loss(path: epath.Path) -> float:
  """Returns the loss of a checkpoint; infinity where it was not evaluated."""
  try:
    loss = read_metadata(path).get("validation_loss")
  except DamagedCheckpoint:
    return math.inf
  return loss if isinstance(loss, float) and math.isfinite(loss) else math.inf


def set_aside(folder: epath.Path, step: int) -> str:
  """Renames a step, so that it counts no longer; returns its new name."""
  number = 0
  while (
    target := folder / f"{_ASIDE}-{step}{f'-{number}' if number else ''}"
  ).exists():
    number += 1
  (folder / str(step)).rename(target)
  return target.name


class _Best(checkpoint_managers.preservation_policy.PreservationPolicy):
  """Preserves the step with the lowest validation loss."""

  def __init__(self, folder: epath.Path):
    self._folder = folder

  def should_preserve(self, checkpoints, *, context) -> Sequence[bool]:
    best = best_step(self._folder)
    return [checkpoint.step == best for checkpoint in checkpoints]


def open_manager(
  folder: epath.Path,
  options: ml_collections.ConfigDict | None = None,
  last_step: int | None = None,
  in_background: bool = True,
) -> ocp.CheckpointManager:
  """Opens a folder of checkpoints for writing.

  Temporary folders of saves that were killed are removed.

  Args:
    folder: of the checkpoints.
    options: `checkpoint` of a configuration; None: every step is saved and kept.
    last_step: that is always saved.
    in_background: whether writing is asynchronous, from a copy of the arrays.
  """
  saves = checkpoint_managers.save_decision_policy
  keeps = checkpoint_managers.preservation_policy
  when = [saves.FixedIntervalPolicy(options.every if options else 1)]
  kept = [keeps.LatestN(options.max_to_keep if options else None)]
  if last_step is not None:
    when.append(saves.SpecificStepsPolicy({last_step}))
  if options and options.every_seconds:
    when.append(saves.ContinuousCheckpointingPolicy(options.every_seconds))
  if options and options.keep_every:
    kept.append(keeps.EveryNSteps(options.keep_every))
  if options and options.keep_best:
    kept.append(_Best(folder))
  return ocp.CheckpointManager(
    folder,
    item_names=ITEMS,
    options=ocp.CheckpointManagerOptions(
      save_decision_policy=saves.AnySavePolicy(when),
      preservation_policy=keeps.AnyPreservationPolicy(kept),
      cleanup_tmp_directories=True,
      enable_async_checkpointing=in_background,
    ),
  )
