# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for the devices of TPU slices, with libtpu's numbers and coordinates."""

import itertools
import types

from elmer_jax.planning.topologies import Topology

KINDS = {"v4": "TPU v4", "v5p": "TPU v5", "v5e": "TPU v5 lite", "v6e": "TPU v6 lite"}


class Device(types.SimpleNamespace):
  """Has the attributes that a mesh reads."""

  __hash__ = object.__hash__

  def __eq__(self, other) -> bool:
    return self is other


def devices(topology: Topology) -> list[Device]:
  """Returns the devices of all slices, host by host; a host has 2x2x1 chips.

  Devices are numbered along x, then y, then z; hosts too.
  """
  x_size, y_size, z_size = (*topology.layout, 1)[:3]
  hosts = list(
    itertools.product(range(z_size), range(0, y_size, 2), range(0, x_size, 2))
  )
  found = []
  for slice_index in range(topology.slices):
    for host, (z, y, x) in enumerate(hosts):
      for dy, dx in itertools.product(range(2), range(2)):
        device = Device(
          id=x + dx + x_size * (y + dy + y_size * z),
          coords=[x + dx, y + dy, z],
          process_index=slice_index * len(hosts) + host,
          core_on_chip=0,
          platform="tpu",
          device_kind=KINDS[topology.generation],
        )
        if topology.slices > 1:
          device.slice_index = slice_index
          device.id += 100_000 * (slice_index + 1)
        found.append(device)
  return found
