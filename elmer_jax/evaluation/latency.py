# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""How long models take to write, beside each other in one process.

Each program is called once with every input before anything is timed, so all is
compiled; then the programs take turns, so that whatever else the machine does falls on
all of them. A call ends when its result is in the host's memory or, without
tokenisation, on the device. Medians over the calls.
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
class Writer:
  """A model with the settings (keyword arguments of `api.generate`) it writes with."""

  model: api.Model
  settings: Mapping[str, object]


def measure(
  writers: Mapping[str, Writer], texts: Sequence[str], calls: int
) -> dict[str, dict[str, float]]:
  """Times every writer.

  Args:
    writers: by name.
    texts: sources; batches of them are taken in turn.
    calls: timed calls of each writer and batch size.

  Returns:
    For each writer the medians in seconds a call: `text_1` and `text_32` from texts to
    texts (without details), `ids_1` and `ids_32` without tokenisation, from ids to ids.
  """
  found: dict[str, dict[str, float]] = {name: {} for name in writers}
  for size in BATCHES:
    batches = [_batch(texts, call, size) for call in range(calls)]
    for kind, make in (("text", _from_texts), ("ids", _from_ids)):
      programs = {
        name: [make(writer, batch) for batch in batches]
        for name, writer in writers.items()
      }
      with quiet():  # what is cut would be told at every call
        for name, seconds in _medians(programs).items():
          found[name][f"{kind}_{size}"] = seconds
  return found


def _batch(texts: Sequence[str], call: int, size: int) -> list[str]:
  return [texts[(call * size + row) % len(texts)] for row in range(size)]


def _from_texts(writer: Writer, batch: list[str]) -> Callable[[], object]:
  return lambda: api.generate(writer.model, batch, details=False, **writer.settings)


def _from_ids(writer: Writer, batch: list[str]) -> Callable[[], object]:
  model, settings = writer.model, writer.settings
  rows_BxS = jax.device_put(model.source_rows().rows(batch, len(batch)))
  length = settings.get("target_length") or model.target_length

  def write():
    if model.objective == "autoregressive":
      return autoregressive.decode(
        model.config,
        model.prepared,
        rows_BxS,
        length=length + 1,  # it writes BOS too
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

  return lambda: jax.block_until_ready(write())


def _medians(programs: Mapping[str, Sequence[Callable]]) -> dict[str, float]:
  """Returns the median seconds of each program's calls; one list a program."""
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
