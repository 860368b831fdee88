# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Several processes as one run: start, barriers, work that process 0 does alone."""

import atexit
import hashlib
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import jax
import ml_collections
from absl import logging
from jax._src import distributed  # the key-value store has no public name

from elmer_jax.core.errors import UserError
from elmer_jax.core.wording import count_of
from elmer_jax.parallel import clusters, peers, rendezvous, stopping

TIMEOUT_SECONDS = 300  # by default, for the start and for barriers
HEARTBEAT_TIMEOUT_SECONDS = 100  # by default, as JAX's
_MAX_TIMEOUT_SECONDS = 24 * 3600
_DAY_MILLISECONDS = 24 * 3600 * 1000  # that process 0 may take to prepare data

Result = TypeVar("Result")


def start(
  distributed: str,
  timeout: float = TIMEOUT_SECONDS,
  heartbeat_timeout: float = HEARTBEAT_TIMEOUT_SECONDS,
) -> None:
  """Joins this process to the others of its run; before JAX computes anything.

  Args:
    distributed: "" for a single process; "auto" where JAX detects the cluster (TPU
      pods, Slurm, MPI); else "HOST:PORT,COUNT,INDEX": where process 0 listens, the
      number of processes, and the index of this one.
    timeout: seconds that the processes wait for each other.
    heartbeat_timeout: seconds after which a process that no longer answers counts as
      lost; then this one ends with a line and status 75.

  Raises:
    UserError: an argument is invalid, a process is missing after `timeout`, or the
      processes of a host leave GPUs unused.
  """
  if not distributed:
    return
  for flag, seconds, lowest in [
    ("distributed_timeout", timeout, 1),
    ("heartbeat_timeout", heartbeat_timeout, 4),
  ]:
    if not lowest <= seconds <= _MAX_TIMEOUT_SECONDS:
      raise UserError(
        f"--{flag}={seconds:g} must be from {lowest} to {_MAX_TIMEOUT_SECONDS} seconds"
      )
  is_auto = distributed == "auto"
  options = clusters.detect(timeout) if is_auto else _parse(distributed)
  address, index = options["coordinator_address"], options["process_id"]
  count = options["num_processes"]
  connections = rendezvous.wait_for_all(address, count, index, timeout)
  if index == 0:
    options["coordinator_bind_address"] = rendezvous.bind_address(address)
  stopping.disable_until_deferred()
  try:
    jax.distributed.initialize(
      **options,
      cluster_detection_method="deactivate",
      initialization_timeout=int(timeout) + 1,
      # JAX aborts without naming the process: `peers` is to notice first.
      heartbeat_timeout_seconds=int(heartbeat_timeout) + 30,
    )
  except (RuntimeError, ValueError) as error:
    raise UserError(f"--distributed={distributed}: {_one_line(error)}") from None
  peers.watch(connections, heartbeat_timeout)
  if jax.process_index() > 0:
    logging.set_verbosity(logging.ERROR)  # process 0 logs for all
  _check_devices(timeout)


def _check_devices(timeout: float) -> None:
  """Logs the devices of all processes; raises `UserError` if GPUs are left unused."""
  is_gpu = jax.local_devices()[0].platform == "gpu"
  gpus = clusters.visible_gpus() if is_gpu else []
  own = json.dumps([socket.gethostname(), jax.local_device_count(), gpus])
  reports = barrier("the count of devices", timeout, own).values()
  found = [clusters.Devices(*json.loads(report)) for report in reports]
  clusters.check_all_used(found)
  counts = sorted({devices.count for devices in found})
  logging.info(
    "%s on %s, devices each: %s",
    count_of(len(found), "process", "processes"),
    count_of(len({devices.host for devices in found}), "host"),
    " or ".join(map(str, counts)),
  )


def _parse(distributed: str) -> dict:
  match = re.fullmatch(r"([^,]+:(\d{1,5})),(\d{1,6}),(\d{1,6})", distributed)
  if not match or int(match[4]) >= int(match[3]) or not 0 < int(match[2]) < 2**16:
    raise UserError(
      f"--distributed={distributed} is neither auto nor HOST:PORT,COUNT,INDEX with "
      "PORT from 1 to 65535 and INDEX from 0 to COUNT - 1"
    )
  return {
    "coordinator_address": match[1],
    "num_processes": int(match[3]),
    "process_id": int(match[4]),
  }


def is_first() -> bool:
  """Returns whether this is process 0, which logs and writes for all."""
  return jax.process_index() == 0


def check_agreement(config: ml_collections.ConfigDict, timeout: float) -> None:
  """Raises `UserError` on every process unless all have the same configuration."""
  text = json.dumps(config.to_dict(), sort_keys=True)
  digest = hashlib.sha256(text.encode()).hexdigest()
  digests = barrier("the comparison of configurations", timeout, digest)
  differing = [str(index) for index, other in digests.items() if other != digests[0]]
  if differing:
    raise UserError(
      f"process {', '.join(differing)} has another configuration than process 0: start "
      "all with the same flags"
    )


def check_shared_folder(
  flag: str, folder: str, timeout: float, visible_within: float = 20
) -> None:
  """Raises `UserError` on every process unless all of them share a folder.

  Process 0 creates a file with a random name, which the others look for.

  Args:
    flag: that named the folder, unique in a run.
    folder: its path on this process.
    timeout: seconds that the processes wait for each other.
    visible_within: seconds after which a new file is visible to all that share it.
  """
  if jax.process_count() == 1:
    return
  client = distributed.global_state.client
  key = f"token of {flag}"
  if is_first():
    name = f".shared-{secrets.token_hex(8)}"
    (Path(folder) / name).touch(exist_ok=False)
    client.key_value_set(key, name)
  else:
    name = client.blocking_key_value_get(key, int(1000 * timeout))
  token = Path(folder) / name
  deadline = time.monotonic() + visible_within
  while not (found := token.exists()) and time.monotonic() < deadline:
    time.sleep(0.2)
  try:
    result = "found" if found else "missing"
    results = barrier(f"the check of {flag}", timeout, result)
  finally:
    if is_first():
      token.unlink(missing_ok=True)
  missing = [str(index) for index, result in results.items() if result == "missing"]
  if missing:
    raise UserError(
      f"{flag}={folder}: process {', '.join(missing)} doesn't see what process 0 "
      "writes there: all processes need the same folder on a shared file system"
    )


def barrier(name: str, timeout: float, value: str = "") -> dict[int, str]:
  """Waits until all processes have reached this barrier, and exchanges values.

  Args:
    name: of the barrier, unique in a run.
    timeout: seconds that the first process waits for the others.
    value: what this process gives to all.

  Returns:
    The values of all processes by index.

  Raises:
    UserError: processes are missing after `timeout`; it names them, in every process
      that came.
  """
  if jax.process_count() == 1:
    return {0: value}
  client = distributed.global_state.client
  client.key_value_set(f"{name}/{jax.process_index()}", value)
  timed_out = False
  try:
    client.wait_at_barrier(name, int(1000 * timeout))
  except RuntimeError:
    timed_out = True
  found = client.key_value_dir_get(f"{name}/")
  values = {int(key.rpartition("/")[2]): value for key, value in found}
  if timed_out:
    peers.stop_watching()
    # JAX would wait for the missing processes again when Python exits.
    atexit.register(os._exit, 2)
    if is_first():
      time.sleep(3)  # the key-value store of the others ends with this process
    missing = [str(i) for i in range(jax.process_count()) if i not in values]
    raise UserError(
      f"timed out after {timeout:g} s at {name!r} waiting for process "
      f"{', '.join(missing)}"
    )
  return values


def run_on_first_process(name: str, work: Callable[[], Result]) -> Result | None:
  """Runs `work` on process 0 alone; the others wait until it is done.

  A `UserError` is raised on every process, with the same message.

  Args:
    name: of the work, unique in a run.
    work: for example, writes files that all processes read.

  Returns:
    What `work` returned, on process 0; None on the others.
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
    outcome = client.blocking_key_value_get(name, _DAY_MILLISECONDS)
  except RuntimeError as error:
    raise UserError(f"process 0 has ended: {_one_line(error)}") from None
  if outcome.startswith("error "):
    raise UserError(outcome.removeprefix("error "))
  return None


def run_on_all_processes(
  name: str, work: Callable[[], Result], timeout: float
) -> Result:
  """Runs `work` on all processes and waits for them.

  A `UserError` of one process is raised on every process.

  Args:
    name: of the work, unique in a run.
    work: for example, opens files.
    timeout: seconds that the first process waits for the others.
  """
  if jax.process_count() == 1:
    return work()
  try:
    result, error = work(), ""
  except UserError as user_error:
    result, error = None, str(user_error)
  for index, message in barrier(name, timeout, error).items():
    if message:
      raise UserError(f"process {index}: {message}")
  return result


def _one_line(error: BaseException) -> str:
  return " ".join(str(error).split())[:300]
