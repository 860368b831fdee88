# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Processes that a cluster starts: where they meet, and the GPUs that each one uses."""

import dataclasses
import glob
import os
import re
import warnings
from collections.abc import Mapping, Sequence

from jax._src import clusters  # the detection has no public name

from elmer_jax.core.errors import UserError


def detect(timeout: float) -> dict:
  """Returns arguments of `jax.distributed.initialize` on a TPU pod, Slurm, MPI, ….

  Args:
    timeout: seconds that detection may take.

  Raises:
    UserError: no cluster is detected, or its tasks don't divide the GPUs of a node.
  """
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # several lines about Kubernetes
      address, count, index, devices = (
        clusters.ClusterEnv.auto_detect_unset_distributed_params(
          None, None, None, None, None, int(timeout)
        )
      )
  except Exception as error:  # the client of a cluster may raise its own
    reason = " ".join(str(error).split())[:300]
    raise UserError(f"--distributed=auto: {reason}") from None
  if None in (address, count, index):
    on_kubernetes = "KUBERNETES_SERVICE_HOST" in os.environ
    raise UserError(
      "--distributed=auto needs the package kubernetes here: pip install 'jax[k8s]'"
      if on_kubernetes
      else "--distributed=auto: JAX detects no TPU pod, Slurm or MPI job here: use "
      "HOST:PORT,COUNT,INDEX"
    )
  if devices is not None:
    # JAX gives each task one GPU, even the only task of a node.
    devices = gpus_of_task(devices[0], os.environ, len(visible_gpus()))
  return {
    "coordinator_address": address,
    "num_processes": count,
    "process_id": index,
    "local_device_ids": devices,
  }


def visible_gpus() -> list[str]:
  """Returns a name for each NVIDIA GPU that this process may use."""
  if "CUDA_VISIBLE_DEVICES" in os.environ:
    return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
  return glob.glob("/dev/nvidia[0-9]*")


def gpus_of_task(task: int, environ: Mapping[str, str], gpus: int) -> list[int] | None:
  """Returns which of the visible GPUs a task uses; None: all of them.

  Args:
    task: index of the task on its node.
    environ: variables that Slurm or Open MPI set.
    gpus: number of GPUs that the task sees.

  Raises:
    UserError: the tasks of the node don't divide its GPUs.
  """
  tasks = _tasks_on_node(environ)
  # Fewer GPUs than tasks: the cluster shows each task its own.
  if tasks == 1 or gpus < tasks or "SLURM_GPUS_PER_TASK" in environ:
    return None
  if gpus % tasks:
    raise UserError(
      f"--distributed=auto: the {tasks} tasks on this node don't divide its {gpus} "
      "GPUs: start one task a node, or one for each GPU"
    )
  share = gpus // tasks
  return list(range(task * share, (task + 1) * share))


def _tasks_on_node(environ: Mapping[str, str]) -> int:
  if "OMPI_COMM_WORLD_LOCAL_SIZE" in environ:
    return int(environ["OMPI_COMM_WORLD_LOCAL_SIZE"])
  # "4(x2),1": four tasks on two nodes, one on the third.
  counts = environ.get("SLURM_STEP_TASKS_PER_NODE", "1")
  nodes = [
    int(tasks)
    for tasks, repeated in re.findall(r"(\d+)(?:\(x(\d+)\))?", counts)
    for _ in range(int(repeated or 1))
  ]
  return nodes[int(environ.get("SLURM_NODEID", 0))]


@dataclasses.dataclass(frozen=True)
class Devices:
  """The devices of a process.

  Attributes:
    host: its name.
    count: number of devices that the process uses.
    gpus: names of the GPUs that it sees; empty where it uses other devices.
  """

  host: str
  count: int
  gpus: Sequence[str]


def check_all_used(processes: Sequence[Devices]) -> None:
  """Raises `UserError` if a host has GPUs that none of its processes uses."""
  for host in {devices.host for devices in processes}:
    here = [devices for devices in processes if devices.host == host]
    found = len({gpu for devices in here for gpu in devices.gpus})
    used = sum(devices.count for devices in here)
    if used < found:
      raise UserError(
        f"host {host} has {found} GPUs, and its processes ({len(here)}) use {used}: "
        "start one process a host, or one for each GPU; to leave some unused, set "
        "CUDA_VISIBLE_DEVICES"
      )
