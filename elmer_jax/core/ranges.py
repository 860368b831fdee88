# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Ranges of numbers, and their check."""

import dataclasses
from collections.abc import Mapping

from elmer_jax.core.errors import UserError


@dataclasses.dataclass(frozen=True)
class Range:
  """The numbers from `least` to `most`, without some; NaN is in none."""

  least: float
  most: float
  without: tuple[float, ...] = ()

  def __contains__(self, number: float) -> bool:
    return self.least <= number <= self.most and number not in self.without

  def __str__(self) -> str:
    without = f", {' and '.join(map(str, self.without))} excluded" * bool(self.without)
    return f"from {self.least} to {self.most}{without}"


def check_ranges(
  values: Mapping[str, object], ranges: Mapping[str, Range], prefix: str = ""
) -> None:
  """Checks that values are numbers, or sequences of numbers, in their ranges.

  Args:
    values: by key; those without a range are not checked.
    ranges: by key.
    prefix: of the keys, for the message.

  Raises:
    UserError: a value is not in its range.
  """
  for key in ranges.keys() & values.keys():
    value = values[key]
    for number in value if isinstance(value, (list, tuple)) else (value,):
      is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
      if not is_number or number not in ranges[key]:
        raise UserError(f"{prefix}{key} must be {ranges[key]}; it is {number!r}")
