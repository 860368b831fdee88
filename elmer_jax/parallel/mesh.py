# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The mesh of devices: `data`, `fsdp`, `tensor`."""

import math
from collections.abc import Sequence

import jax
import ml_collections

from elmer_jax.errors import UserError

AXES = ("data", "fsdp", "tensor")


def make_mesh(
  config: ml_collections.ConfigDict, devices: Sequence[jax.Device] | None = None
) -> jax.sharding.Mesh:
  """Arranges devices, by default all, as `config.mesh` says; one size may be -1.

  Raises:
    UserError: if the sizes don't multiply to the number of devices.
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
  return jax.make_mesh(sizes, AXES, axis_types=automatic, devices=devices)
