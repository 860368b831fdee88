# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Where a run's metrics go: `metrics.jsonl`, TensorBoard, Weights & Biases."""

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path

import ml_collections

from elmer_jax.core.atomic_files import write_whole
from elmer_jax.core.errors import UserError
from elmer_jax.core.json_files import read_lines, read_object_if_present
from elmer_jax.training.wandb_run import WandbRun


class MetricWriter:
  """Writes a run's metrics; only process 0 has an `active` one."""

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    workdir: str,
    resumed_step: int,
    active: bool = True,
  ):
    self._active = active
    if not active:
      return
    from tensorboardX import SummaryWriter

    self._path = Path(workdir) / "metrics.jsonl"
    _drop_lines_after(self._path, resumed_step)
    self._board = SummaryWriter(
      str(Path(workdir) / "tensorboard"), purge_step=resumed_step + 1
    )
    self._wandb = WandbRun(config, workdir) if config.log.wandb else None

  def write(self, step: int, split: str, values: dict[str, float]) -> None:
    """Appends one line to the file and one point to each curve.

    What is not finite is null in the file. A disk that is full is a `UserError`.
    """
    if not self._active:
      return
    line = {"step": step, "split": split}
    for name, value in values.items():
      line[name] = value if math.isfinite(value) else None  # JSON has no NaN
    with self._writing():
      with self._path.open("a") as file:
        file.write(json.dumps(line) + "\n")
      for name, value in values.items():
        self._board.add_scalar(f"{split}/{name}", value, step)
    if self._wandb:
      self._wandb.write(step, split, values)

  def close(self) -> None:
    if self._active:
      with self._writing():
        self._board.close()
      if self._wandb:
        self._wandb.close()

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    """Raises `UserError` where the disk is full or can't be written."""
    try:
      yield
    except OSError as error:
      raise UserError(
        f"the metrics in {self._path.parent} can't be written: {error.strerror}"
      ) from None


def _drop_lines_after(path: Path, step: int) -> None:
  """Removes lines that an earlier start wrote after its last checkpoint."""
  if not path.exists():
    return
  kept = []
  if step:  # a run that restarts at 0 repeats the evaluation of step 0
    kept = [
      json.dumps(line)
      for line in read_lines(path, {"step": int})
      if line["step"] <= step
    ]
  write_whole(path, "".join(line + "\n" for line in kept))


def record_stage_seconds(workdir: str, stage: str, seconds: float) -> None:
  """Writes the duration of a stage into WORKDIR/timing.json."""
  path = Path(workdir) / "timing.json"
  timing = read_object_if_present(path, remedy="delete it") or {}
  write_whole(path, json.dumps(timing | {stage: round(seconds, 1)}) + "\n")
