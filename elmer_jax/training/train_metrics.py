# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Training metrics: means over steps, rates, and the lines of the log."""

import dataclasses
import math
import time

import ml_collections
from absl import logging

from elmer_jax.core.wording import format_duration
from elmer_jax.data.loader import Batches
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

  Steps that were not finite are in no mean; `skipped_steps` counts them.

  Attributes:
    rates: the last report's rates per chip, see `Throughput`.
    skipped_in_a_row: the steps since the last one that was finite.
  """

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    writer: MetricWriter,
    timers: TimeAccounting,
    throughput: Throughput,
    batches: Batches,
  ):
    """Starts at step 0; `batches` are those of the training split."""
    self._batches = batches
    self._log_every, self._steps = config.train.log_every, config.train.steps
    self._steps_per_epoch = batches.examples / config.data.batch_size
    self._writer, self._timers, self._throughput = writer, timers, throughput
    self._pending: tuple[int, dict] | None = None
    self._first_line: float | None = None
    self._last_line = -math.inf
    self._written, self._logged = _Means(), _Means()  # since the last point, line
    self.rates: dict[str, float] = {}
    self.skipped_in_a_row = 0
    self.restart_clock(0)

  def restart_clock(self, step: int) -> None:
    """Starts measuring rates at `step`: excludes an evaluation, a save or compiling."""
    self._write_clock, self._log_clock = _Clock(step), _Clock(step)

  def resume(self, metadata: dict) -> None:
    """Takes over what an earlier start had not written at its last save."""
    self._written = _Means(**metadata.get("unwritten_metrics", {}))

  def metadata(self) -> dict:
    """Returns what `resume` takes, as JSON: points are the same after any stop."""
    return {"unwritten_metrics": dataclasses.asdict(self._written)}

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
    tokens, is_finite = fetched.pop("tokens"), fetched.pop("is_finite")
    if is_finite:
      self.skipped_in_a_row = 0
    else:
      self.skipped_in_a_row += 1
      self._log_skipped(step, fetched)
    for clock, means in (
      (self._write_clock, self._written),
      (self._log_clock, self._logged),
    ):
      clock.tokens += tokens
      means.add(fetched if is_finite else None)
    if step % self._log_every == 0 or step == self._steps:
      self._write(step, fetched["learning_rate"])
    if is_finite and (self._line_is_due() or step == self._steps):
      self._log(step)

  def _log_skipped(self, step: int, values: dict[str, float]) -> None:
    indices = self._batches.indices(step - 1)
    logging.warning(
      "step %d is skipped, as it is not finite: loss %g, gradient norm %g, learning "
      "rate %g; examples %s",
      *(step, values["loss"], values["gradient_norm"], values["learning_rate"]),
      ", ".join(map(str, indices)),
    )

  def _line_is_due(self) -> bool:
    if self._first_line is None:
      return True
    now = time.monotonic()
    pause = max(_LINE_SECONDS, _LINE_SHARE * (now - self._first_line))
    return now - self._last_line >= pause

  def _log(self, step: int) -> None:
    means, rates = self._logged.values(), self._log_clock.rates(step)
    line = (
      f"step {step:,}/{self._steps:,}  epoch {step / self._steps_per_epoch:.1f}  "
      f"loss {means['loss']:.3f}"
    )
    if "accuracy" in means:  # the objective `dag` computes none in training
      line += f"  accuracy {means['accuracy']:.3f}"
    if self._first_line is not None:  # a single step gives no rate
      left = format_duration((self._steps - step) / rates["steps_per_second"])
      line += f"  {rates['tokens_per_second']:,.0f} tokens/s  {left} left"
    logging.info("%s", line)
    self._last_line = time.monotonic()
    self._first_line = self._first_line or self._last_line
    self._logged, self._log_clock = _Means(), _Clock(step)

  def _write(self, step: int, learning_rate: float) -> None:
    rates = self._write_clock.rates(step)
    self.rates = self._throughput.per_chip(**rates)
    means = self._written.values()
    means["epoch"] = step / self._steps_per_epoch
    means["learning_rate"] = learning_rate
    means["skipped_steps"] = self._written.skipped
    self._writer.write(
      step, "train", means | rates | self.rates | self._timers.metrics()
    )
    self._written, self._write_clock = _Means(), _Clock(step)


@dataclasses.dataclass
class _Means:
  """Means over steps, from sums that a checkpoint can store."""

  count: int = 0
  skipped: int = 0
  sums: dict[str, float] = dataclasses.field(default_factory=dict)

  def add(self, values: dict[str, float] | None) -> None:
    """Adds a step; None is one that was skipped."""
    if values is None:
      self.skipped += 1
      return
    self.count += 1
    for name, value in values.items():
      self.sums[name] = self.sums.get(name, 0.0) + value

  def values(self) -> dict[str, float]:
    return {name: value / self.count for name, value in self.sums.items()}


class _Clock:
  """Measures rates of the steps after `step`."""

  def __init__(self, step: int):
    self.tokens = 0.0
    self._step, self._start = step, time.monotonic()

  def rates(self, step: int) -> dict[str, float]:
    """Returns tokens and steps per second until `step`."""
    seconds = max(time.monotonic() - self._start, 1e-9)
    steps = max(step - self._step, 1)
    return {
      "tokens_per_second": self.tokens / seconds,
      "steps_per_second": steps / seconds,
    }
