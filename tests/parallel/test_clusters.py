# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Every GPU of a host is used, however a cluster starts the processes."""

import pytest

from elmer_jax.core.errors import UserError
from elmer_jax.parallel import clusters
from elmer_jax.parallel.clusters import Devices


@pytest.mark.parametrize(
  ("environ", "task", "gpus", "expected"),
  [
    # One task a node, one for each GPU, one for two GPUs.
    ({"SLURM_STEP_TASKS_PER_NODE": "1(x2)"}, 0, 8, None),
    ({"SLURM_STEP_TASKS_PER_NODE": "8(x2)"}, 3, 8, [3]),
    ({"SLURM_STEP_TASKS_PER_NODE": "4(x2)"}, 1, 8, [2, 3]),
    # The cluster shows each task its own GPUs.
    ({"SLURM_STEP_TASKS_PER_NODE": "8"}, 3, 1, None),
    ({"SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_GPUS_PER_TASK": "4"}, 1, 4, None),
    # Nodes with different numbers of tasks.
    ({"SLURM_STEP_TASKS_PER_NODE": "4(x2),1", "SLURM_NODEID": "2"}, 0, 4, None),
    ({"SLURM_STEP_TASKS_PER_NODE": "4(x2),1", "SLURM_NODEID": "1"}, 2, 4, [2]),
    ({"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, 1, 2, [1]),
    ({}, 0, 4, None),
  ],
)
def test_the_tasks_of_a_node_share_its_gpus(environ, task, gpus, expected):
  assert clusters.gpus_of_task(task, environ, gpus) == expected


def test_tasks_that_do_not_divide_the_gpus_are_an_error():
  with pytest.raises(UserError, match="3 tasks on this node don't divide its 8 GPUs"):
    clusters.gpus_of_task(0, {"SLURM_STEP_TASKS_PER_NODE": "3"}, 8)


def test_gpus_that_nobody_uses_are_an_error():
  four = ("0", "1", "2", "3")
  clusters.check_all_used([Devices("a", 4, four), Devices("b", 4, four)])
  clusters.check_all_used([Devices("a", 1, four)] * 4)
  clusters.check_all_used([Devices("a", 1, ("0",))] * 4)  # each sees its own alone
  clusters.check_all_used([Devices("a", 1, ())] * 2)  # no GPUs
  with pytest.raises(UserError, match="host b has 4 GPUs, and its .* use 1: start"):
    clusters.check_all_used([Devices("a", 4, four), Devices("b", 1, four)])


def test_a_cluster_that_is_not_detected_is_an_error(monkeypatch):
  with pytest.raises(UserError, match="no TPU pod, Slurm or MPI job here"):
    clusters.detect(1)
  monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
  with pytest.raises(UserError, match=r"needs the package kubernetes .*jax\[k8s\]"):
    clusters.detect(1)


def test_the_only_slurm_task_of_a_node_uses_all_of_its_gpus(monkeypatch):
  slurm = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
    "SLURM_NODEID": "1",
    "CUDA_VISIBLE_DEVICES": "0,1,2,3",
  }
  for name, value in slurm.items():
    monkeypatch.setenv(name, value)
  found = clusters.detect(1)
  assert found["coordinator_address"].startswith("node1:")
  assert (found["num_processes"], found["process_id"]) == (2, 1)
  assert found["local_device_ids"] is None
  monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "2")
  monkeypatch.setenv("SLURM_NODEID", "0")
  assert found | {"local_device_ids": [0, 1]} == clusters.detect(1)
