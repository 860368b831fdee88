# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The mesh of devices: axes `data`, `fsdp` and `tensor`, over one slice or several."""

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
  """Arranges devices, by default all, by the sizes in `config.mesh`; one may be -1.

  With several slices the data axis runs over the slices first, so that only the
  reduction of gradients uses the network between them.

  Raises:
    UserError: if the sizes don't multiply to the number of devices, or `mesh.slices`
      isn't the number of slices that the devices are in.
  """
  devices = jax.devices() if devices is None else devices
  sizes = [config.mesh[axis] for axis in AXES]
  flags = ", ".join(
    f"mesh.{axis}={size}" for axis, size in zip(AXES, sizes, strict=True)
  )
  if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
    raise UserError(f"{flags}: sizes are positive, and at most one is -1 (the rest)")
  known = math.prod(size for size in sizes if size != -1)
  count = len(devices)
  if count % known or (-1 not in sizes and known != count):
    raise UserError(f"{flags} doesn't match {count} devices: change the sizes")
  sizes = [count // known if size == -1 else size for size in sizes]
  slices = config.mesh.slices
  _check_slices(slices, sizes[0], devices)
  automatic = (jax.sharding.AxisType.Auto,) * len(AXES)
  return jax.sharding.Mesh(_arrange(sizes, slices, devices), AXES, axis_types=automatic)


def slice_of(device: jax.Device) -> int:
  """Returns the index of a device's slice, 0 where the platform has no slices."""
  return getattr(device, "slice_index", None) or 0


def _check_slices(slices: int, data: int, devices: Sequence[jax.Device]) -> None:
  if slices < 1 or data % slices:
    raise UserError(f"mesh.slices={slices} must divide mesh.data={data}")
  found = len(set(map(slice_of, devices)))
  # On GPUs JAX calls the devices of a host a slice, which needs no axis of its own.
  if devices[0].platform == "tpu" and found != slices:
    raise UserError(
      f"mesh.slices={slices}, but the devices are in {found}: set mesh.slices={found}"
    )


def _arrange(
  sizes: list[int], slices: int, devices: Sequence[jax.Device]
) -> np.ndarray:
  """Returns devices [data, fsdp, tensor], each slice contiguous along data."""
  # A mesh axis may take a part of a torus axis: otherwise JAX refuses, for example,
  # fsdp=8 on a 4x4x4 torus.
  if slices == 1:
    return mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
  if len(set(map(slice_of, devices))) == slices:
    within = [sizes[0] // slices, *sizes[1:]]
    return mesh_utils.create_hybrid_device_mesh(
      within, [slices, 1, 1], devices, allow_split_physical_axes=True
    )
  # CPU devices have no slices: equal parts in their order.
  return np.array(devices, dtype=object).reshape(sizes)
