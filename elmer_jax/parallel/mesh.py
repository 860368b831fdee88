# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The mesh of devices: `data`, `fsdp`, `tensor`, over one slice or several."""

import math
from collections.abc import Sequence

import jax
import ml_collections
import numpy as np
from jax.experimental import mesh_utils

from elmer_jax.core.errors import UserError

AXES = ("data", "fsdp", "tensor")


def make_mesh(
  config: ml_collections.ConfigDict, devices: Sequence[jax.Device] | None = None
) -> jax.sharding.Mesh:
  """Arranges devices, by default all, as `config.mesh` says; one size may be -1.

  `mesh.slices` parts of the data axis lie in a slice each: only the sums of gradients
  go over the network between slices, all else stays within one.

  Raises:
    UserError: if the sizes don't multiply to the number of devices, or the slices
      aren't those of the devices.
  """
  devices = jax.devices() if devices is None else devices
  sizes = [config.mesh[axis] for axis in AXES]
  wanted = ", ".join(
    f"mesh.{axis}={size}" for axis, size in zip(AXES, sizes, strict=True)
  )
  if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
    raise UserError(f"{wanted}: sizes are positive, and at most one is -1 (the rest)")
  known = math.prod(size for size in sizes if size != -1)
  count = len(devices)
  if count % known or (-1 not in sizes and known != count):
    raise UserError(f"{wanted} can't be laid over {count} devices: change the sizes")
  sizes = [count // known if size == -1 else size for size in sizes]
  automatic = (jax.sharding.AxisType.Auto,) * len(AXES)
  slices = config.mesh.slices
  _check_slices(slices, sizes[0], devices)
  if slices == 1:
    return jax.make_mesh(sizes, AXES, axis_types=automatic, devices=devices)
  return jax.sharding.Mesh(
    _over_slices(sizes, slices, devices), AXES, axis_types=automatic
  )


def _check_slices(slices: int, data: int, devices: Sequence[jax.Device]) -> None:
  if slices < 1 or data % slices:
    raise UserError(f"mesh.slices={slices} must divide mesh.data={data}")
  found = _count_slices(devices)
  # Elsewhere what JAX calls a slice (the GPUs of a host) needs no mesh of its own.
  if devices[0].platform == "tpu" and found != slices:
    raise UserError(
      f"mesh.slices={slices}, but the devices are in {found}: set mesh.slices={found}"
    )


def _count_slices(devices: Sequence[jax.Device]) -> int:
  return len({getattr(device, "slice_index", None) or 0 for device in devices})


def _over_slices(
  sizes: list[int], slices: int, devices: Sequence[jax.Device]
) -> np.ndarray:
  """Returns devices [data, fsdp, tensor], each slice a block of neighbours in data."""
  if _count_slices(devices) == slices:
    within = [sizes[0] // slices, *sizes[1:]]
    return mesh_utils.create_hybrid_device_mesh(within, [slices, 1, 1], devices)
  # Devices that know of no slices, as those made of a CPU: equal parts in their order.
  return np.array(devices, dtype=object).reshape(sizes)
