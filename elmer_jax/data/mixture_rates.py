# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Parses `data.rates`, the mixing rates of the tasks of a mixture."""

import difflib
from collections.abc import Iterable, Mapping

from elmer_jax.core.errors import UserError


def parse_rates(text: str, parts: Iterable[str]) -> Mapping[str, float]:
  """Returns {"wikipedia_lplm": 1.0, …} for `data.rates`; {} if it is empty.

  Raises:
    UserError: a name is not a part of the mixture, a part has no rate, or a rate is
      not a positive number.
  """
  parts = list(parts)
  rates = {}
  for entry in filter(None, map(str.strip, text.split(","))):
    name, _, rate = map(str.strip, entry.partition("="))
    if name not in parts:
      [closest] = difflib.get_close_matches(name, parts, n=1, cutoff=0)
      raise UserError(
        f"data.rates: the task has no part {name!r}. Did you mean {closest!r}?"
      )
    try:
      rates[name] = float(rate)
    except ValueError:
      rates[name] = 0.0
    if not 0 < rates[name] < float("inf"):
      raise UserError(f"data.rates: the rate of {name} must be above 0; it is {rate!r}")
  missing = [part for part in parts if part not in rates]
  if rates and missing:
    raise UserError(
      f"data.rates has no rate for {', '.join(missing)}: every part needs one"
    )
  return rates
