# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Several processes as one run: how they meet, what each reads, who goes first."""

import atexit
import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from typing import TypeVar

import jax
import ml_collections
from absl import logging
from jax._src import clusters, distributed  # the store of keys has no public name
from jax.sharding import Mesh

from elmer_jax.core.errors import UserError
from elmer_jax.parallel import rendezvous, sharding

MEETING_SECONDS = 300  # that processes wait for each other at the start
_SECONDS_TO_READ = 3
_DAY_MILLISECONDS = 24 * 3600 * 1000  # that they wait for process 0 to prepare data

Result = TypeVar("Result")


def start(how: str, seconds: float = MEETING_SECONDS) -> None:
  """Joins this process to the others of its run; before JAX computes anything.

  Args:
    how: "" for a process alone; "auto" where JAX can ask the machine (TPU pods, Slurm,
      MPI); else "HOST:PORT,COUNT,INDEX": where process 0 listens, how many processes
      there are, and which one this is.
    seconds: that the processes wait for each other.

  Raises:
    UserError: `how` is none of these, or a process didn't come in time.
  """
  if not how:
    return
  options = _automatic(seconds) if how == "auto" else _explicit(how)
  rendezvous.hold(
    options["coordinator_address"],
    options["num_processes"],
    options["process_id"],
    seconds,
  )
  try:
    jax.distributed.initialize(**options, initialization_timeout=int(seconds) + 1)
  except (RuntimeError, ValueError) as error:
    raise UserError(f"--distributed={how}: {_first_line(error)}") from None
  if jax.process_index() > 0:
    logging.set_verbosity(logging.ERROR)  # one of them speaks for all


def _automatic(seconds: float) -> dict:
  """Asks the machine, as `jax.distributed.initialize` does where it is told nothing."""
  try:
    address, count, index, devices = (
      clusters.ClusterEnv.auto_detect_unset_distributed_params(
        None, None, None, None, None, int(seconds)
      )
    )
  except (RuntimeError, ValueError, OSError, KeyError) as error:
    raise UserError(f"--distributed=auto: {_first_line(error)}") from None
  if None in (address, count, index):
    raise UserError(
      "--distributed=auto: this is no TPU pod, Slurm or MPI job that JAX knows: use "
      "HOST:PORT,COUNT,INDEX"
    )
  return {
    "coordinator_address": address,
    "num_processes": count,
    "process_id": index,
    "local_device_ids": devices,
  }


def _explicit(how: str) -> dict:
  match = re.fullmatch(r"([^,]+:\d+),(\d+),(\d+)", how)
  if not match or int(match[3]) >= int(match[2]):
    raise UserError(
      f"--distributed={how} is neither auto nor HOST:PORT,COUNT,INDEX with INDEX from "
      "0 to COUNT - 1"
    )
  return {
    "coordinator_address": match[1],
    "num_processes": int(match[2]),
    "process_id": int(match[3]),
  }


def is_first() -> bool:
  """Tells whether this process speaks and writes for all."""
  return jax.process_index() == 0


def check_agreement(config: ml_collections.ConfigDict, seconds: float) -> None:
  """Raises `UserError` on every process unless all have the same configuration."""
  text = json.dumps(config.to_dict(), sort_keys=True)
  digest = hashlib.sha256(text.encode()).hexdigest()
  notes = meet("the comparison of configurations", seconds, digest)
  differing = [str(index) for index, note in notes.items() if note != notes[0]]
  if differing:
    raise UserError(
      f"process {', '.join(differing)} has another configuration than process 0: start "
      "all with the same flags"
    )


def meet(place: str, seconds: float, note: str = "here") -> dict[int, str]:
  """Waits until all processes have come to `place`, once in a run.

  Args:
    place: its name, for the message as well.
    seconds: that the first one there waits.
    note: what this process leaves there.

  Returns:
    All processes' notes, by their numbers.

  Raises:
    UserError: some didn't come in time; it names them, in every process that did.
  """
  if jax.process_count() == 1:
    return {0: note}
  client = distributed.global_state.client
  client.key_value_set(f"{place}/{jax.process_index()}", note)
  late = False
  try:
    client.wait_at_barrier(place, int(1000 * seconds))
  except RuntimeError:
    late = True
  found = client.key_value_dir_get(f"{place}/")
  notes = {int(key.rpartition("/")[2]): said for key, said in found}
  missing = [str(i) for i in range(jax.process_count()) if i not in notes]
  if late:
    # JAX would wait for the missing ones again when Python ends.
    atexit.register(os._exit, 2)
    if is_first():
      time.sleep(_SECONDS_TO_READ)  # the others' questions end with this process
    raise UserError(
      f"process {', '.join(missing)} didn't come to {place!r} within {seconds:g} s of "
      "the first"
    )
  return notes


def first_alone(name: str, work: Callable[[], Result]) -> Result:
  """Lets process 0 do `work` before the others do, who then find it done.

  Where it fails there, it fails everywhere, with the same words.

  Args:
    name: of the work, once in a run.
    work: what writes files that all need.
  """
  if jax.process_count() == 1:
    return work()
  client = distributed.global_state.client
  if is_first():
    try:
      result = work()
    except UserError as error:
      client.key_value_set(name, f"error {error}")
      raise
    client.key_value_set(name, "done")
    return result
  try:
    said = client.blocking_key_value_get(name, _DAY_MILLISECONDS)
  except RuntimeError as error:
    raise UserError(f"process 0 is gone: {_first_line(error)}") from None
  if said.startswith("error "):
    raise UserError(said.removeprefix("error "))
  return work()


def share_of_batch(mesh: Mesh) -> tuple[int, int]:
  """Returns (index, count): of `count` equal parts of a batch this process reads one.

  Processes whose devices hold the same rows (a tensor axis across them) read the same.

  Raises:
    UserError: the rows of its devices aren't next to each other.
  """
  parts = mesh.shape["data"] * mesh.shape["fsdp"]
  places = sharding.of_batch(mesh).devices_indices_map((parts,))
  mine = sorted(
    {
      place[0].start or 0
      for device, place in places.items()
      if device.process_index == jax.process_index()
    }
  )
  first, count = mine[0], len(mine)
  if first % count or mine != list(range(first, first + count)):
    raise UserError(
      f"mesh {dict(mesh.shape)}: process {jax.process_index()} would read parts {mine} "
      f"of {parts} of a batch, which aren't neighbours: choose other sizes"
    )
  return first // count, parts // count


def _first_line(error: BaseException) -> str:
  return " ".join(str(error).split())[:300]
