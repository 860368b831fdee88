# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Latency of generation, of several systems in one process.

Every program is compiled by a call with every input before anything is timed. Then the
systems take turns, so that other load on the machine affects all of them alike. A call
ends when its result is in the host's memory or, without tokenisation, on the device.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import jax

from elmer_jax.core.quiet import quiet
from elmer_jax.decoding import autoregressive, one_pass
from elmer_jax.generation import api

BATCHES = (1, 32)


@dataclasses.dataclass(frozen=True)
class System:
  """A model with its settings of generation, keyword arguments of `api.generate`."""

  model: api.Model
  settings: Mapping[str, object]


def measure(
  systems: Mapping[str, System], texts: Sequence[str], calls: int
) -> dict[str, dict[str, float]]:
  """Times every system.

  Args:
    systems: by name.
    texts: sources; batches of them are used in turn.
    calls: timed calls per system and batch size.

  Returns:
    By system, median seconds per call: `text_1` and `text_32` from texts to texts
    (without details), `ids_1` and `ids_32` without tokenisation, from ids to ids.
  """
  found: dict[str, dict[str, float]] = {name: {} for name in systems}
  for size in BATCHES:
    batches = [_batch(texts, call, size) for call in range(calls)]
    for kind, make in (("text", _from_texts), ("ids", _from_ids)):
      programs = {
        name: [make(system, batch) for batch in batches]
        for name, system in systems.items()
      }
      with quiet():  # each call would warn of truncated sources
        for name, seconds in median_seconds(programs).items():
          found[name][f"{kind}_{size}"] = seconds
  return found


def _batch(texts: Sequence[str], call: int, size: int) -> list[str]:
  return [texts[(call * size + row) % len(texts)] for row in range(size)]


def _from_texts(system: System, batch: list[str]) -> Callable[[], object]:
  return lambda: api.generate(system.model, batch, details=False, **system.settings)


def _from_ids(system: System, batch: list[str]) -> Callable[[], object]:
  model, settings = system.model, system.settings
  rows_BxS = jax.device_put(model.source_rows().rows(batch, len(batch)))
  length = settings.get("target_length") or model.target_length

  def generate():
    if model.objective == "autoregressive":
      return autoregressive.decode(
        model.config,
        model.prepared,
        rows_BxS,
        length=length + 1,  # BOS is generated too
        search=settings.get("search") or model.search,
      ).ids
    return one_pass.decode(
      model.config,
      model.prepared,
      rows_BxS,
      length=length,
      exit=settings.get("exit") or one_pass.default_exit(model.objective),
      threshold=settings.get("threshold", model.exit_threshold),
      shortlist=settings.get("shortlist", 0),
    ).ids

  return lambda: jax.block_until_ready(generate())


def median_seconds(programs: Mapping[str, Sequence[Callable]]) -> dict[str, float]:
  """Returns each system's median seconds per call; one list of programs a system."""
  for calls in programs.values():
    for call in calls:
      call()
  seconds: dict[str, list[float]] = {name: [] for name in programs}
  for turn in zip(*programs.values(), strict=True):
    for name, call in zip(programs, turn, strict=True):
      start = time.perf_counter()
      call()
      seconds[name].append(time.perf_counter() - start)
  return {name: statistics.median(times) for name, times in seconds.items()}
