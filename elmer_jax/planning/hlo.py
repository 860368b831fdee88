# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Counts the bytes that devices send each other in a compiled program.

The program is XLA's HLO text, scheduled and partitioned: shapes are those of one
device. Bytes are those of ring algorithms (Thakur et al., 2005): in a group of n
devices, each sends (n - 1)/n of the whole array in a gather or a scatter, and twice
that in an all-reduce. A loop body counts once for each iteration.
"""

import collections
import itertools
import math
import re
from typing import NamedTuple

import numpy as np

KINDS = (
  "all-reduce",
  "reduce-scatter",
  "all-gather",
  "all-to-all",
  "collective-permute",
  "collective-broadcast",
)

_BITS = {"pred": 8, "bf16": 16, "token": 0, "opaque": 0}
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.-]+) = (.*)$")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
_OPCODE = re.compile(rf" ({'|'.join(KINDS)})(-start)?\(")
_CALLED = re.compile(
  r"(?:calls|to_apply|true_computation|false_computation)=%?([\w.-]+)"
)
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_WHILE = re.compile(r" while\(.*condition=%?([\w.-]+), body=%?([\w.-]+)")
_TRIPS = re.compile(r'known_trip_count"?:\{"n":"(\d+)"')
_LEAF = re.compile(r"\b(pred|bf16|token|opaque|[sufc]\d+|f8\w+)\[([\d,]*)\]")
_CHANNEL = re.compile(r"channel_id=(\d+)")


class Collective(NamedTuple):
  """A collective operation of the program."""

  kind: str
  sent: float  # bytes that a device sends in one execution
  times: int  # executions in a step
  groups: np.ndarray  # [groups, devices]: positions in the mesh's order


def sent_by_kind(operations: list[Collective]) -> dict[str, float]:
  """Returns the bytes that a device sends in a step, by kind."""
  total = collections.Counter()
  for operation in operations:
    total[operation.kind] += operation.sent * operation.times
  return dict(total)


def collectives(text: str, devices: int) -> list[Collective]:
  """Returns the collectives of a program.

  Args:
    text: `compiled.as_text()`.
    devices: number of devices that the program runs on.
  """
  entry, bodies = _computations(text)
  found = []
  seen = set()

  def visit(name: str, times: int) -> None:
    for line in bodies[name]:
      loop = _WHILE.search(line)
      if loop:
        visit(loop[2], times * _trip_count(line, bodies[loop[1]], bodies))
        continue
      collective = _collective(line, times, devices, name)
      if collective:
        # One that overlaps with other work is repeated in each part of that work.
        channel = _CHANNEL.search(line)
        key = channel[1] if channel else (name, line)
        if key not in seen:
          seen.add(key)
          found.append(collective)
        continue
      for called in _called(line):
        if called in bodies:
          visit(called, times)

  visit(entry, 1)
  return found


def _computations(text: str) -> tuple[str, dict[str, list[str]]]:
  """Returns the name of the entry and the lines of every computation."""
  entry, bodies, current = None, {}, None
  for line in text.splitlines():
    head = _COMPUTATION.match(line)
    if head:
      current = bodies.setdefault(head[2], [])
      entry = head[2] if head[1] else entry
    elif current is not None and _INSTRUCTION.match(line):
      current.append(line)
  return entry, bodies


def _called(line: str) -> list[str]:
  names = _CALLED.findall(line)
  for branches in _BRANCHES.findall(line):
    names += [name.strip().lstrip("%") for name in branches.split(",")]
  return names


def _trip_count(line: str, condition: list[str], bodies: dict) -> int:
  """Returns the trip count of a loop: XLA's annotation, or the counter's limit.

  All loops of a training step count from 0 by 1 to a constant in their condition.
  """
  annotation = _TRIPS.search(line)
  if annotation:
    return int(annotation[1])
  lines = condition + [
    inner for call in condition for name in _called(call) for inner in bodies[name]
  ]
  limits = [re.search(r"s32\[\]\S* constant\((\d+)\)", inner) for inner in lines]
  limits = [int(limit[1]) for limit in limits if limit]
  if len(limits) != 1:
    raise ValueError(f"a loop with unknown trip count: {line.strip()[:200]}")
  return limits[0]


def _collective(
  line: str, times: int, devices: int, computation: str
) -> Collective | None:
  match = _OPCODE.search(line)
  if not match:
    return None
  kind, is_start = match[1], bool(match[2])
  shape = line[line.index(" = ") + 3 : match.start()]
  groups = _groups(line, devices)
  size = groups.shape[1]
  array = _bytes(shape)
  if is_start and kind in ("all-gather", "collective-permute"):
    array = _bytes(_second(shape))  # the first is the operand
  if kind == "all-reduce" and computation.startswith("all-reduce-scatter"):
    kind = "reduce-scatter"  # as the TPU compiler writes it: the result is a slice
    array //= size
  others = (size - 1) / size
  sent = {
    "all-reduce": 2 * array * others,
    "reduce-scatter": array * (size - 1),
    "all-gather": array * others,
    "all-to-all": array * others,
  }.get(kind, array)
  return Collective(kind, sent, times, groups)


def _bytes(shape: str) -> int:
  """Returns the bytes of a shape such as `(f32[8,128]{1,0}, s32[])`."""
  total = 0
  for dtype, sizes in _LEAF.findall(shape):
    digits = re.search(r"\d+", dtype)
    bits = _BITS[dtype] if dtype in _BITS else int(digits[0])
    total += bits * math.prod(int(size) for size in sizes.split(",") if size) // 8
  return total


def _second(shape: str) -> str:
  """Returns the second element of a tuple shape."""
  depth, parts, start = 0, [], 1
  for position, character in enumerate(shape):
    if character in "([{":
      depth += 1
    elif character in ")]}":
      depth -= 1
    if (character == "," and depth == 1) or (character == ")" and depth == 0):
      parts.append(shape[start:position])
      start = position + 1
  return parts[1]


def _groups(line: str, devices: int) -> np.ndarray:
  """Returns the groups [groups, devices] of a collective.

  XLA writes them as a list `{{0,1},{2,3}}`, as an iota `[2,2]<=[2,2]T(1,0)`, or by the
  axes of a mesh: `mesh['a'=2,'b'=2] {'b'}`. A permutation has a pair for each message.
  """
  pairs = re.search(r"source_target_pairs=\{(\{.*?\})\}", line)
  listed = pairs or re.search(r"replica_groups=\{(\{.*?\})\}", line)
  if listed:
    groups = re.findall(r"\{([\d,]+)\}", listed[1])
    return np.array([[int(device) for device in group.split(",")] for group in groups])
  iota = re.search(r"replica_groups=\[([\d,]+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)", line)
  if iota:
    return _iota(iota[2]).reshape([int(size) for size in iota[1].split(",")])
  meshed = re.search(
    r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\((.*?\)?)\))? \{([^}]*)\}", line
  )
  if meshed:
    return _groups_of_mesh(*meshed.groups())
  return np.arange(devices)[None]


def _iota(text: str) -> np.ndarray:
  """Returns the positions of `[2,4]T(1,0)`: an iota of that shape, transposed."""
  sizes, _, permutation = text.partition("T")
  shape = [int(size) for size in sizes.strip("[]").split(",")]
  positions = np.arange(math.prod(shape)).reshape(shape)
  if permutation:
    axes = [int(axis) for axis in permutation.strip("()").split(",")]
    positions = positions.transpose(axes)
  return positions


def _groups_of_mesh(mesh: str, order: str | None, axes: str) -> np.ndarray:
  """Returns the groups along some axes of a mesh.

  A sub-axis is written `'a':(1)2`: of size 2, 1 being the product of the sizes before
  it.
  """
  shape, names = [], []
  for name, size in re.findall(r"'(\w+)'=(\d+)", mesh):
    cuts = [
      (int(before), int(before) * int(part))
      for before, part in re.findall(rf"'{name}':\((\d+)\)(\d+)", axes)
    ]
    bounds = sorted({1, int(size)}.union(*cuts))
    if not cuts:
      shape, names = [*shape, int(size)], [*names, name]
      continue
    for low, high in itertools.pairwise(bounds):
      shape, names = [*shape, high // low], [*names, f"{name}:{low}"]
  within = [
    f"{name}:{before}" if before else name
    for name, before in re.findall(r"'(\w+)'(?::\((\d+)\)\d+)?", axes)
  ]
  positions = np.arange(math.prod(shape)) if order is None else _iota(order)
  outside = [name for name in names if name not in within]
  permutation = [names.index(name) for name in outside + within]
  size = math.prod(shape[names.index(name)] for name in within)
  return positions.reshape(shape).transpose(permutation).reshape(-1, size)


def joins(collective: Collective, slices: np.ndarray) -> bool:
  """Returns whether a collective joins devices of several slices.

  Args:
    collective: of the program.
    slices: [devices] int, the slice of each device in the mesh's order.
  """
  joined = slices[collective.groups]
  return bool(np.any(joined != joined[:, :1]))
