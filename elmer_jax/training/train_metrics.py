# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Training metrics: means over steps, rates, and the lines of the log."""

import math
import statistics
import time

import ml_collections
from absl import logging

from elmer_jax.core.wording import format_duration
from elmer_jax.training.metric_writer import MetricWriter
from elmer_jax.training.throughput import Throughput
from elmer_jax.training.time_accounting import TimeAccounting

# The log has a line after the first step, then one after this many seconds or after
# this share of the time since then: a week of training makes some 700 lines.
_LINE_SECONDS, _LINE_SHARE = 10.0, 0.01


class TrainMetrics:
  """Writes the mean metrics of the steps every `train.log_every` steps, and logs some.

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
    examples: int,
  ):
    """Starts at step 0; `examples` is their number in the training split."""
    self._log_every, self._steps = config.train.log_every, config.train.steps
    self._steps_per_epoch = examples / config.data.batch_size
    self._writer, self._timers, self._throughput = writer, timers, throughput
    self._pending: tuple[int, dict] | None = None
    self._first_line: float | None = None
    self._last_line = -math.inf
    self.rates: dict[str, float] = {}
    self.restart_clock(0)

  def restart_clock(self, step: int) -> None:
    """Starts measuring rates at `step`: excludes an evaluation, a save or compiling."""
    self._written, self._logged = _Window(step), _Window(step)

  def add(self, step: int, values: dict) -> None:
    """Takes the metrics of `step`, still being computed, and fetches the last ones."""
    self.flush()
    self._pending = step, values

  def flush(self) -> None:
    """Waits for the metrics of the last step; writes and logs what is due."""
    if self._pending is None:
      return
    step, values = self._pending
    self._pending = None
    fetched = {name: float(value) for name, value in values.items()}
    for window in (self._written, self._logged):
      window.rows.append(fetched)
    if step % self._log_every == 0 or step == self._steps:
      self._write(step)
    if self._line_is_due() or step == self._steps:
      self._log(step)

  def _line_is_due(self) -> bool:
    if self._first_line is None:
      return True
    now = time.monotonic()
    pause = max(_LINE_SECONDS, _LINE_SHARE * (now - self._first_line))
    return now - self._last_line >= pause

  def _log(self, step: int) -> None:
    means, seconds, steps = self._logged.means(step)
    tokens = means.pop("tokens") * len(self._logged.rows)
    line = (
      f"step {step:,}/{self._steps:,}  epoch {step / self._steps_per_epoch:.1f}  "
      f"loss {means['loss']:.3f}"
    )
    if "accuracy" in means:  # the objective `dag` computes none in training
      line += f"  accuracy {means['accuracy']:.3f}"
    if self._first_line is not None:  # a single step gives no rate
      left = format_duration((self._steps - step) * seconds / steps)
      line += f"  {tokens / seconds:,.0f} tokens/s  {left} left"
    logging.info("%s", line)
    self._last_line = time.monotonic()
    self._first_line = self._first_line or self._last_line
    self._logged = _Window(step)

  def _write(self, step: int) -> None:
    means, seconds, steps = self._written.means(step)
    rates = {
      "tokens_per_second": means.pop("tokens") * len(self._written.rows) / seconds,
      "steps_per_second": steps / seconds,
    }
    self.rates = self._throughput.per_chip(**rates)
    means["epoch"] = step / self._steps_per_epoch
    means["learning_rate"] = self._written.rows[-1]["learning_rate"]
    self._writer.write(
      step, "train", means | rates | self.rates | self._timers.metrics()
    )
    self._written = _Window(step)


class _Window:
  """The metrics of the steps after `step`, and the time that they take."""

  def __init__(self, step: int):
    self.rows: list[dict[str, float]] = []
    self._step, self._start = step, time.monotonic()

  def means(self, step: int) -> tuple[dict[str, float], float, int]:
    """Returns the means of the metrics, and the seconds and steps until `step`."""
    columns = {name: [row[name] for row in self.rows] for name in self.rows[0]}
    means = {name: statistics.fmean(column) for name, column in columns.items()}
    seconds = max(time.monotonic() - self._start, 1e-9)
    return means, seconds, max(step - self._step, 1)
