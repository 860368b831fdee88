# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""TPU topologies by name, and their devices as the TPU compiler describes them.

A topology is named by its layout, `v4:4x4x4`, or by the accelerator type of Google
Cloud: `v4-128` and `v5p-128` count TensorCores, two a chip; `v5e-256` and `v6e-256`
count chips.
"""

import importlib.util
import math
import os
import re
from typing import NamedTuple

import jax

from elmer_jax.core.errors import UserError

EXAMPLES = "v4:4x4x4, v4-128, v5e:16x16, v5e-256, v5p-128 or v6e-256"

# What libtpu would otherwise ask the metadata server of a TPU VM for.
_ENVIRONMENT = {
  "TPU_SKIP_MDS_QUERY": "1",
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
  "TPU_ACCELERATOR_TYPE": "v5litepod-4",
  "TPU_WORKER_HOSTNAMES": "localhost",
  "TPU_MIN_LOG_LEVEL": "3",
  "TPU_STDERR_LOG_LEVEL": "3",
}
_CHIPS_PER_HOST = (2, 2, 1)


class Generation(NamedTuple):
  """What names and the compiler need to know about a TPU generation."""

  axes: int  # of its interconnect
  cores: int  # a chip, as accelerator types count them
  chip_config: str  # "megacore": the two cores of a chip are one device


GENERATIONS = {
  "v4": Generation(3, 2, "megacore"),
  "v5p": Generation(3, 2, "megacore"),
  "v5e": Generation(2, 1, "default"),
  "v6e": Generation(2, 1, "default"),
}


class Topology(NamedTuple):
  """Slices of TPU chips, all of the same layout."""

  generation: str
  layout: tuple[int, ...]  # chips along each axis of a slice
  slices: int = 1

  @property
  def chips(self) -> int:
    return math.prod(self.layout) * self.slices

  @property
  def name(self) -> str:
    """The name by layout; several slices as `2*v5e:16x16`."""
    slices = f"{self.slices}*" if self.slices > 1 else ""
    return f"{slices}{self.generation}:{'x'.join(map(str, self.layout))}"


def parse(name: str, slices: int = 1) -> Topology:
  """Returns the topology called `name`.

  Args:
    name: `v4:4x4x4`, `v4-128`, …
    slices: number of these that the data-centre network joins.

  Raises:
    UserError: unknown generation, layout or size.
  """
  match = re.fullmatch(r"(v\d+[a-z]*)(?::(\d{1,6}(?:x\d{1,6})*)|-(\d{1,9}))", name)
  if not match or match[1] not in GENERATIONS:
    raise UserError(
      f"--topology={name} is not a TPU topology: write {EXAMPLES}, or local for this "
      "machine"
    )
  generation = GENERATIONS[match[1]]
  if match[2]:
    layout = tuple(int(size) for size in match[2].split("x"))
  else:
    layout = _standard_layout(name, int(match[3]), generation)
  if len(layout) != generation.axes or min(layout) < 1:
    like = "4x4x4" if generation.axes == 3 else "16x16"
    raise UserError(
      f"--topology={name}: a {match[1]} layout has {generation.axes} sizes, as "
      f"{match[1]}:{like}"
    )
  return Topology(match[1], layout, slices)


def _standard_layout(name: str, count: int, generation: Generation) -> tuple[int, ...]:
  """Returns the most cubic layout of a power of two of chips, at least one host."""
  chips = count // generation.cores
  if chips < 4 or chips & (chips - 1) or count % generation.cores:
    raise UserError(
      f"--topology={name} is not a standard size (a power of two of chips, at least "
      f"four): write the layout, as {EXAMPLES.split(',')[0]}"
    )
  doublings = chips.bit_length() - 1
  low, extra = divmod(doublings, generation.axes)
  bits = [low + (axis >= generation.axes - extra) for axis in range(generation.axes)]
  layout = tuple(2**bit for bit in bits)
  return (2, 2, 1) if layout == (1, 2, 2) else layout


def devices(topology: Topology) -> list:
  """Returns the devices to compile for; nothing can run on them.

  Raises:
    UserError: libtpu is missing, or doesn't know the topology.
  """
  if importlib.util.find_spec("libtpu") is None:
    raise UserError(
      "compiling for a TPU needs libtpu, which the extra `plan` brings: "
      "bash launch/install.sh plan, or pip install '.[plan]'"
    )
  from jax.experimental import topologies

  for name, value in _ENVIRONMENT.items():
    os.environ.setdefault(name, value)
  slice_name = topology._replace(slices=1).name
  try:
    description = topologies.get_topology_desc(
      slice_name,
      "tpu",
      chip_config_name=GENERATIONS[topology.generation].chip_config,
      chips_per_host_bounds=_CHIPS_PER_HOST,
      num_slices=topology.slices,
    )
  except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
    reason = " ".join(str(error).split())
    raise UserError(f"--topology={slice_name}: libtpu refuses it ({reason})") from None
  return list(description.devices)
