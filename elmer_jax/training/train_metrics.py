# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Training metrics: means over steps, rates, and the lines of the log."""

import dataclasses
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
    self._means = Means()
    self.rates: dict[str, float] = {}
    self.restart_clock(0)

  def restart_clock(self, step: int) -> None:
    """Starts measuring rates at `step`: excludes an evaluation, a save or compiling."""
    self._tokens = 0.0
    self._start_step, self._start_time = step, time.monotonic()

  def resume(self, metadata: dict) -> None:
    """Takes over what an earlier start had not reported at its last save."""
    self._means = Means(**metadata.get("unreported", {}))

  def unreported(self) -> dict:
    """Returns, as JSON, what `resume` takes: a report is the same after any stop."""
    return dataclasses.asdict(self._means)

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
    row = {name: float(value) for name, value in values.items()}
    self._tokens += row.pop("tokens")
    learning_rate = row.pop("learning_rate")
    self._means.add(row)
    if step % self._log_every == 0 or step == self._steps:
      self._report(step, self._means.values() | {"learning_rate": learning_rate})
      self._means = Means()
      self.restart_clock(step)

  def _report(self, step: int, values: dict[str, float]) -> None:
    seconds = max(time.monotonic() - self._start_time, 1e-9)
    steps = max(step - self._start_step, 1)
    rates = {
      "tokens_per_second": self._tokens / seconds,
      "steps_per_second": steps / seconds,
    }
    logging.info(
      "step %d/%d  loss %.3f  accuracy %.3f  %s tokens/s  %s left",
      step,
      self._steps,
      values["loss"],
      values["accuracy"],
      f"{rates['tokens_per_second']:,.0f}",
      format_duration((self._steps - step) * seconds / steps),
    )
    self.rates = self._throughput.per_chip(**rates)
    self._writer.write(
      step, "train", values | rates | self.rates | self._timers.metrics()
    )


@dataclasses.dataclass
class Means:
  """Means over steps, from sums that a checkpoint can store."""

  count: int = 0
  sums: dict[str, float] = dataclasses.field(default_factory=dict)

  def add(self, values: dict[str, float]) -> None:
    self.count += 1
    for name, value in values.items():
      self.sums[name] = self.sums.get(name, 0.0) + value

  def values(self) -> dict[str, float]:
    return {name: value / self.count for name, value in self.sums.items()}
