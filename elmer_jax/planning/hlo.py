# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Reads what devices send each other out of a compiled program's text.

The text is XLA's HLO, scheduled and partitioned: shapes are those of one device. Sent
bytes are those of the ring algorithms (Thakur et al., 2005): of a group of n devices,
each sends (n - 1)/n of the whole array to gather or to scatter it, and twice that to
reduce it everywhere. What stands in a loop counts as often as the loop turns.
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
  """One collective operation of the program."""

  kind: str
  sent: float  # bytes that a device sends each time
  times: int  # it runs in a step
  groups: np.ndarray  # [groups, devices]: places in the mesh's order


def sent_by_kind(found: list[Collective]) -> dict[str, float]:
  """Adds up the bytes that a device sends in a step, by kind."""
  total = collections.Counter()
  for one in found:
    total[one.kind] += one.sent * one.times
  return dict(total)


def collectives(text: str, devices: int) -> list[Collective]:
  """Returns the collectives of a program.

  Args:
    text: `compiled.as_text()`.
    devices: how many the program is for.
  """
  entry, bodies = _computations(text)
  found = []
  seen = set()

  def walk(name: str, times: int) -> None:
    for line in bodies[name]:
      loop = _WHILE.search(line)
      if loop:
        walk(loop[2], times * _trip_count(line, bodies[loop[1]], bodies))
        continue
      one = _collective(line, times, devices, name)
      if one:
        # Overlapped with other work, a collective is written down in each part of it.
        channel = _CHANNEL.search(line)
        key = channel[1] if channel else (name, line)
        if key not in seen:
          seen.add(key)
          found.append(one)
        continue
      for called in _called(line):
        if called in bodies:
          walk(called, times)

  walk(entry, 1)
  return found


def _computations(text: str) -> tuple[str, dict[str, list[str]]]:
  """Returns the entry's name and the lines of every computation."""
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
  """Returns how often a loop turns: as XLA notes it, or its counter's limit.

  Every loop of ours counts up from 0 by 1 to a constant that its condition holds.
  """
  noted = _TRIPS.search(line)
  if noted:
    return int(noted[1])
  lines = condition + [
    inner for call in condition for name in _called(call) for inner in bodies[name]
  ]
  limits = [re.search(r"s32\[\]\S* constant\((\d+)\)", inner) for inner in lines]
  limits = [int(limit[1]) for limit in limits if limit]
  if len(limits) != 1:
    raise ValueError(f"a loop of unknown length: {line.strip()[:200]}")
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
    kind = "reduce-scatter"  # how the TPU compiler writes one: its result is a slice
    array //= size
  part = (size - 1) / size
  sent = {
    "all-reduce": 2 * array * part,
    "reduce-scatter": array * (size - 1),
    "all-gather": array * part,
    "all-to-all": array * part,
  }.get(kind, array)
  return Collective(kind, sent, times, groups)


def _bytes(shape: str) -> int:
  """Adds up the arrays of a shape such as `(f32[8,128]{1,0}, s32[])`."""
  total = 0
  for dtype, sizes in _LEAF.findall(shape):
    digits = re.search(r"\d+", dtype)
    bits = _BITS[dtype] if dtype in _BITS else int(digits[0])
    total += bits * math.prod(int(size) for size in sizes.split(",") if size) // 8
  return total


def _second(shape: str) -> str:
  """Returns the second element of a tuple shape."""
  depth, parts, start = 0, [], 1
  for place, sign in enumerate(shape):
    if sign in "([{":
      depth += 1
    elif sign in ")]}":
      depth -= 1
    if (sign == "," and depth == 1) or (sign == ")" and depth == 0):
      parts.append(shape[start:place])
      start = place + 1
  return parts[1]


def _groups(line: str, devices: int) -> np.ndarray:
  """Returns the groups [groups, devices in each] that a collective joins.

  XLA writes them out `{{0,1},{2,3}}`, as an iota `[2,2]<=[2,2]T(1,0)`, or by the axes
  of a mesh: `mesh['a'=2,'b'=2] {'b'}`. A permutation has pairs, each a message.
  """
  pairs = re.search(r"source_target_pairs=\{(\{.*?\})\}", line)
  listed = pairs or re.search(r"replica_groups=\{(\{.*?\})\}", line)
  if listed:
    groups = re.findall(r"\{([\d,]+)\}", listed[1])
    return np.array([[int(place) for place in group.split(",")] for group in groups])
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
  """Returns the places of `[2,4]T(1,0)`: an iota of that shape, then transposed."""
  sizes, _, turned = text.partition("T")
  order = [int(size) for size in sizes.strip("[]").split(",")]
  places = np.arange(math.prod(order)).reshape(order)
  if turned:
    places = places.transpose([int(axis) for axis in turned.strip("()").split(",")])
  return places


def _groups_of_mesh(mesh: str, order: str | None, joined: str) -> np.ndarray:
  """Returns the groups along some axes of a mesh.

  A part of an axis is written `'a':(1)2`: of size 2, 1 being the product of the sizes
  before it.
  """
  shape, names = [], []
  for name, size in re.findall(r"'(\w+)'=(\d+)", mesh):
    cuts = [
      (int(before), int(before) * int(part))
      for before, part in re.findall(rf"'{name}':\((\d+)\)(\d+)", joined)
    ]
    bounds = sorted({1, int(size)}.union(*cuts))
    if not cuts:
      shape, names = [*shape, int(size)], [*names, name]
      continue
    for low, high in itertools.pairwise(bounds):
      shape, names = [*shape, high // low], [*names, f"{name}:{low}"]
  within = [
    f"{name}:{before}" if before else name
    for name, before in re.findall(r"'(\w+)'(?::\((\d+)\)\d+)?", joined)
  ]
  places = np.arange(math.prod(shape)) if order is None else _iota(order)
  without = [name for name in names if name not in within]
  sides = [names.index(name) for name in without + within]
  size = math.prod(shape[names.index(name)] for name in within)
  return places.reshape(shape).transpose(sides).reshape(-1, size)


def crosses(one: Collective, part_of: np.ndarray) -> bool:
  """Tells whether a collective joins devices of several parts (slices).

  Args:
    one: the collective.
    part_of: [devices] int, the part of each place in the mesh's order.
  """
  parts = part_of[one.groups]
  return bool(np.any(parts != parts[:, :1]))
