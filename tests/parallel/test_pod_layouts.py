# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Every process of a TPU pod reads the rows that its devices hold, on any mesh."""

import importlib.util

import numpy as np
import pytest
import tiny
import tiny_tpu

from elmer_jax.parallel import sharding
from elmer_jax.parallel.mesh import make_mesh
from elmer_jax.planning import topologies

SOURCES = [
  tiny_tpu.devices,
  pytest.param(
    topologies.devices,
    marks=pytest.mark.skipif(
      importlib.util.find_spec("libtpu") is None, reason="needs the extra `plan`"
    ),
  ),
]
# Topology, slices, processes, (data, fsdp, tensor).
LAYOUTS = [
  ("v4-16", 1, 2, (8, 1, 1)),
  ("v4-16", 1, 2, (2, 2, 2)),
  ("v4-32", 1, 4, (16, 1, 1)),
  ("v4-32", 1, 4, (2, 2, 4)),
  ("v4-128", 1, 16, (64, 1, 1)),
  ("v4-128", 1, 16, (1, 64, 1)),
  ("v4-128", 1, 16, (16, 4, 1)),
  ("v4-128", 1, 16, (16, 1, 4)),
  ("v4-128", 1, 16, (1, 8, 8)),  # splits an axis of the torus
  ("v5p-128", 1, 16, (64, 1, 1)),
  ("v5p-128", 1, 16, (8, 8, 1)),
  ("v5e-16", 1, 4, (16, 1, 1)),
  ("v5e-256", 1, 64, (256, 1, 1)),
  ("v5e-256", 1, 64, (16, 16, 1)),
  ("v5e-256", 1, 64, (32, 2, 4)),
  ("v6e-256", 1, 64, (256, 1, 1)),
  ("v6e-256", 1, 64, (8, 32, 1)),
  ("v5e-256", 2, 128, (512, 1, 1)),
  ("v5e-256", 2, 128, (2, 128, 2)),
]


@pytest.mark.parametrize("make_devices", SOURCES, ids=["stand-ins", "libtpu"])
@pytest.mark.parametrize(("name", "slices", "processes", "sizes"), LAYOUTS)
def test_every_process_reads_what_its_devices_hold(
  make_devices, name, slices, processes, sizes
):
  data, fsdp, tensor = sizes
  config = tiny.configure(mesh__data=data, mesh__fsdp=fsdp, mesh__tensor=tensor)
  config.mesh.slices = slices
  mesh = make_mesh(config, make_devices(topologies.parse(name, slices)))
  shards, shard_rows = data * fsdp, 6
  batch_size = shards * shard_rows
  sharding.check_batch(mesh, batch_size, 3)
  expected = [set() for _ in range(processes)]
  for (shard, _), device in np.ndenumerate(mesh.devices.reshape(shards, tensor)):
    rows = range(shard * shard_rows, (shard + 1) * shard_rows)
    expected[device.process_index].update(rows)
  assert set().union(*expected) == set(range(batch_size))
  for process, rows in enumerate(expected):
    found = sharding.rows_of_process(mesh, batch_size, process)
    assert found.tolist() == sorted(rows)


def test_the_rows_of_a_host_need_not_be_contiguous():
  config = tiny.configure(mesh__data=64)
  mesh = make_mesh(config, tiny_tpu.devices(topologies.parse("v4-128")))
  assert sharding.rows_of_process(mesh, 64, 0).tolist() == [0, 4, 16, 20]


@pytest.mark.parametrize("make_devices", SOURCES[1:], ids=["libtpu"])
@pytest.mark.parametrize(("name", "slices"), sorted({row[:2] for row in LAYOUTS}))
def test_stand_ins_are_numbered_as_by_libtpu(make_devices, name, slices):
  def describe(device) -> tuple:
    slice_index = getattr(device, "slice_index", None)
    names = ("id", "process_index", "core_on_chip", "platform", "device_kind")
    values = [getattr(device, name) for name in names]
    return *values, list(device.coords), slice_index

  topology = topologies.parse(name, slices)
  real = list(map(describe, make_devices(topology)))
  assert list(map(describe, tiny_tpu.devices(topology))) == real
