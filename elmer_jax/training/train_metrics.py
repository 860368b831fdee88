# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Training metrics: means over steps, rates, and the lines of the log."""

import statistics
import time

import ml_collections
from absl import logging

from elmer_jax.training.metric_writer import MetricWriter, format_duration
from elmer_jax.training.throughput import Throughput
from elmer_jax.training.time_accounting import TimeAccounting


class TrainMetrics:
  """Reports the mean metrics of the steps every `train.log_every` steps.

  The metrics of a step are fetched after the next step is dispatched, so that the
  device computes while the host waits for them.

  Attributes:
    rates: the last report's rates per chip, see `Throughput`.
  """

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    writer: MetricWriter,
    timers: TimeAccounting,
    throughput: Throughput,
  ):
    self._log_every, self._steps = config.train.log_every, config.train.steps
    self._writer, self._timers, self._throughput = writer, timers, throughput
    self._pending: tuple[int, dict] | None = None
    self.rates: dict[str, float] = {}
    self.restart_clock(0)

  def restart_clock(self, step: int) -> None:
    """Starts measuring rates at `step`: excludes an evaluation, a save or compiling."""
    self._fetched: list[dict[str, float]] = []  # of the steps since the last report
    self._start_step, self._start_time = step, time.monotonic()

  def add(self, step: int, values: dict) -> None:
    """Takes the metrics of `step`, still being computed, and fetches the last ones."""
    self.flush()
    self._pending = step, values

  def flush(self) -> None:
    """Waits for the metrics of the last step, and reports if a report is due."""
    if self._pending is None:
      return
    step, values = self._pending
    self._pending = None
    self._fetched.append({name: float(value) for name, value in values.items()})
    if step % self._log_every == 0 or step == self._steps:
      self._report(step)

  def _report(self, step: int) -> None:
    now = time.monotonic()
    seconds = max(now - self._start_time, 1e-9)
    steps = max(step - self._start_step, 1)
    columns = {name: [row[name] for row in self._fetched] for name in self._fetched[0]}
    tokens_per_second = sum(columns.pop("tokens")) / seconds
    means = {name: statistics.fmean(column) for name, column in columns.items()}
    means["learning_rate"] = columns["learning_rate"][-1]
    logging.info(
      "step %d/%d  loss %.3f%s  %s tokens/s  %s left",
      step,
      self._steps,
      means["loss"],
      # The objective `dag` computes none in training.
      f"  accuracy {means['accuracy']:.3f}" if "accuracy" in means else "",
      f"{tokens_per_second:,.0f}",
      format_duration((self._steps - step) * seconds / steps),
    )
    rates = {
      "tokens_per_second": tokens_per_second,
      "steps_per_second": steps / seconds,
    }
    self.rates = self._throughput.per_chip(**rates)
    self._writer.write(
      step, "train", means | rates | self.rates | self._timers.metrics()
    )
    self._fetched, self._start_step, self._start_time = [], step, now
