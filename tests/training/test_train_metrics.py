# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""When the log has a line, and what the metrics file has."""

import types

import pytest
import tiny

from elmer_jax.training import train_metrics
from elmer_jax.training.optimizer import warn_of_low_peak
from elmer_jax.training.throughput import Throughput
from elmer_jax.training.time_accounting import TimeAccounting


class Written(list):
  """A writer that keeps what it is given."""

  def write(self, step: int, split: str, values: dict) -> None:
    self.append((step, values))


def train(steps: int, log_every: int) -> Written:
  config = tiny.configure(train__steps=steps, train__log_every=log_every)
  throughput = Throughput(config, tiny.model_config())
  written = Written()
  metrics = train_metrics.TrainMetrics(
    config, written, TimeAccounting(), throughput, types.SimpleNamespace(examples=16)
  )
  for step in range(1, steps + 1):
    values = {"loss": float(step), "accuracy": 0.5, "learning_rate": 1}
    metrics.add(step, values | {"tokens": 10, "is_finite": True})
  metrics.flush()
  return written


def steps_logged(caplog) -> list[int]:
  lines = [record.getMessage() for record in caplog.records]
  return [int(line.split()[1].split("/")[0]) for line in lines if "step" in line]


def test_the_log_has_the_first_step_and_then_lines_by_time(caplog, monkeypatch):
  with caplog.at_level("INFO", logger="absl"):
    train(steps=40, log_every=1)
  assert steps_logged(caplog) == [1, 40]
  assert "epoch 0.5 " in caplog.messages[0] and "tokens/s" not in caplog.messages[0]
  assert "epoch 20.0 " in caplog.messages[1] and "0:00 left" in caplog.messages[1]
  # The mean of the steps since the line before.
  assert "loss 21.000" in caplog.messages[1]
  caplog.clear()
  monkeypatch.setattr(train_metrics, "_LINE_SECONDS", 0.0)
  monkeypatch.setattr(train_metrics, "_LINE_SHARE", 0.0)
  with caplog.at_level("INFO", logger="absl"):
    train(steps=4, log_every=100)
  assert steps_logged(caplog) == [1, 2, 3, 4]


def test_the_file_has_every_n_th_step_whatever_the_log_has():
  written = train(steps=5, log_every=2)
  assert [step for step, _ in written] == [2, 4, 5]
  assert [values["loss"] for _, values in written] == [1.5, 3.5, 5.0]
  assert [values["epoch"] for _, values in written] == [1.0, 2.0, 2.5]


@pytest.mark.parametrize(("steps", "warns"), [(6, True), (10, False)])
def test_a_schedule_that_never_peaks_is_a_warning(caplog, steps, warns):
  warn_of_low_peak(tiny.configure(train__steps=steps, optimizer__warmup_steps=10))
  assert ("train.steps=6 is below optimizer.warmup_steps=10" in caplog.text) == warns
