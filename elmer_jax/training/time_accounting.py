# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Where a run's time goes, and how much of its chips' power it uses.

Time is divided without overlap: what is spent in one of KINDS, and the rest, which is
training. Compiling counts as such wherever it happens. The share of training in all is
the goodput. Input is the time that the loop waits for a batch; the device may be busy
with the step before meanwhile, so a little of it need not be lost.

Nothing here waits for the device.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import ml_collections
from absl import logging

from elmer_jax.core.atomic_files import write_whole
from elmer_jax.core.compile_cache import seconds_compiling
from elmer_jax.model import flops
from elmer_jax.model.config import ModelConfig
from elmer_jax.parallel import chips

# start: opening data, making or restoring the state. checkpoint: copying it, and
# waiting at the end until it is written.
KINDS = ("start", "compile", "input", "evaluation", "checkpoint")
FILE = "accounts.json"


class Accounts:
  """The books of one run, earlier starts included as far as they were saved."""

  def __init__(self):
    self._since, self._compiled = time.monotonic(), seconds_compiling()
    self._spent = dict.fromkeys(KINDS, 0.0)
    self._earlier = 0.0

  def resume(self, metadata: dict) -> None:
    """Takes over what a checkpoint's metadata says that it had cost."""
    self._earlier = metadata.get("seconds", 0.0)
    for kind, seconds in metadata.get("spent", {}).items():
      self._spent[kind] += seconds

  @property
  def seconds(self) -> float:
    """Of wall time since the run began, without what was never saved."""
    return self._earlier + time.monotonic() - self._since

  def end_start(self) -> None:
    """Books what went before the first update, but for compiling, as `start`."""
    compiling = seconds_compiling() - self._compiled
    self._spent["start"] += time.monotonic() - self._since - compiling

  @contextlib.contextmanager
  def spend(self, kind: str) -> Iterator[None]:
    """Books the time inside under `kind`, but for compiling."""
    start, compiled = time.monotonic(), seconds_compiling()
    try:
      yield
    finally:
      compiling = seconds_compiling() - compiled
      self._spent[kind] += time.monotonic() - start - compiling

  def spent(self) -> dict[str, float]:
    """Returns the seconds of every kind so far."""
    compiling = self._spent["compile"] + seconds_compiling() - self._compiled
    return self._spent | {"compile": compiling}

  def figures(self) -> dict[str, float]:
    """Returns the goodput and the seconds of every kind, as metrics."""
    spent, seconds = self.spent(), self.seconds
    return {
      "goodput": max(seconds - sum(spent.values()), 0.0) / max(seconds, 1e-9),
      **{f"seconds_{kind}": value for kind, value in spent.items()},
    }

  def close(self, workdir: str, rates: dict[str, float]) -> None:
    """Writes WORKDIR/accounts.json, with the last `rates`, and says it in a line."""
    figures = {"seconds": self.seconds} | self.figures() | rates
    rounded = {name: float(f"{value:.5g}") for name, value in figures.items()}
    write_whole(Path(workdir) / FILE, json.dumps(rounded, indent=2) + "\n")
    seconds = self.seconds
    logging.info(
      "%.0f s: training %.1f %%, %s%s",
      seconds,
      100 * figures["goodput"],
      ", ".join(
        f"{kind} {100 * s / seconds:.1f} %" for kind, s in self.spent().items()
      ),
      f"; MFU {100 * rates['mfu']:.1f} %" if "mfu" in rates else "",
    )


class Rates:
  """What the updates of a run achieve on this machine's chips."""

  def __init__(self, config: ml_collections.ConfigDict, model_config: ModelConfig):
    of_example = flops.of_example(
      model_config,
      config.objective.name,
      config.data.source_length,
      config.data.target_length,
    )
    self._flops = config.data.batch_size * of_example.training
    self._chip = chips.of_kind(jax.devices()[0].device_kind)

  def of(self, updates_per_second: float, tokens_per_second: float) -> dict[str, float]:
    """Returns rates per chip, and the model FLOPs utilisation of a chip that is known.

    Args:
      updates_per_second: over the steps since the last line.
      tokens_per_second: source and target tokens (not PAD), over the whole machine.
    """
    count = jax.device_count()
    flops_per_chip = updates_per_second * self._flops / count
    rates = {
      "tokens_per_second_per_chip": tokens_per_second / count,
      "model_flops_per_second_per_chip": flops_per_chip,
    }
    if self._chip:
      rates["mfu"] = flops_per_chip / self._chip.peak_flops
    return rates | _memory()


def _memory() -> dict[str, float]:
  """Returns the most that a device of this process has held, GiB; no word on a CPU."""
  stats = [device.memory_stats() or {} for device in jax.local_devices()]
  peaks = [
    found["peak_bytes_in_use"] for found in stats if "peak_bytes_in_use" in found
  ]
  return {"device_memory_peak_gib": max(peaks) / 2**30} if peaks else {}
