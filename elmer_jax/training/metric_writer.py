# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What a run says: progress lines, `metrics.jsonl`, TensorBoard, `timing.json`."""

import json
import time
from pathlib import Path

from absl import logging

from elmer_jax.core.atomic_files import write_whole


class Metrics:
  """Writes a run's figures; process 0 only has one that is `active`."""

  def __init__(self, workdir: str, resumed_step: int, active: bool = True):
    self._active = active
    if not active:
      return
    from tensorboardX import SummaryWriter

    self._path = Path(workdir) / "metrics.jsonl"
    _forget_after(self._path, resumed_step)
    self._board = SummaryWriter(
      str(Path(workdir) / "tensorboard"), purge_step=resumed_step + 1
    )

  def write(self, step: int, split: str, values: dict[str, float]) -> None:
    """Appends one line to the file and one point to each curve."""
    if not self._active:
      return
    with self._path.open("a") as file:
      file.write(json.dumps({"step": step, "split": split, **values}) + "\n")
    for name, value in values.items():
      self._board.add_scalar(f"{split}/{name}", value, step)

  def close(self) -> None:
    if self._active:
      self._board.close()


def _forget_after(path: Path, step: int) -> None:
  """Drops what an earlier start wrote beyond the step that it saved."""
  if not path.exists():
    return
  kept = [
    line
    for line in path.read_text().splitlines()
    if line.endswith("}") and json.loads(line)["step"] <= step
  ]
  if step == 0:
    kept = []  # the first evaluation is made anew as well
  write_whole(path, "".join(line + "\n" for line in kept))


class Progress:
  """Lines with rate and time left, for anyone who waits."""

  def __init__(self, start: int, steps: int):
    self._steps = steps
    self._step, self._time = start, time.monotonic()

  def line(self, step: int, values: dict[str, float], tokens: float) -> dict:
    """Logs a line for the steps since the last one.

    Args:
      step: updates made.
      values: the last update's metrics.
      tokens: source and target tokens (not PAD) since the last line.

    Returns:
      `values` with `tokens_per_second`, over the whole machine, and
      `updates_per_second`.
    """
    now = time.monotonic()
    seconds = max(now - self._time, 1e-9)
    updates = max(step - self._step, 1)
    left = (self._steps - step) * seconds / updates
    self._step, self._time = step, now
    values = values | {
      "tokens_per_second": tokens / seconds,
      "updates_per_second": updates / seconds,
    }
    logging.info(
      "step %d/%d  loss %.3f  accuracy %.3f  %s tokens/s  %s left",
      step,
      self._steps,
      values["loss"],
      values.get("accuracy", float("nan")),
      f"{values['tokens_per_second']:,.0f}",
      duration(left),
    )
    return values

  def restart(self, step: int) -> None:
    """Leaves out the time since the last line: an evaluation, say."""
    self._step, self._time = step, time.monotonic()


def duration(seconds: float) -> str:
  """Returns 75 as '1:15' and 4000 as '1:06:40'."""
  minutes, rest = divmod(int(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def record_stage_seconds(workdir: str, stage: str, seconds: float) -> None:
  """Notes in WORKDIR/timing.json how long a stage took."""
  path = Path(workdir) / "timing.json"
  timing = json.loads(path.read_text()) if path.exists() else {}
  write_whole(path, json.dumps(timing | {stage: round(seconds, 1)}) + "\n")
