# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""How often the examples of each part of a mixture come, as `data.rates` gives it."""

import difflib
from collections.abc import Iterable, Mapping

from elmer_jax.core.errors import UserError


def parse_rates(text: str, parts: Iterable[str]) -> Mapping[str, float]:
  """Returns {"wikipedia_lplm": 1.0, …} for `data.rates`; {} where that is empty.

  Raises:
    UserError: it names no part of the mixture, leaves one out, or a rate is no number
      above zero.
  """
  parts = list(parts)
  rates = {}
  for entry in filter(None, map(str.strip, text.split(","))):
    name, _, rate = map(str.strip, entry.partition("="))
    if name not in parts:
      [near] = difflib.get_close_matches(name, parts, n=1, cutoff=0)
      raise UserError(
        f"data.rates: {name!r} is no part of the task. Did you mean {near!r}?"
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
      f"data.rates has no rate for {', '.join(missing)}: give all parts one"
    )
  return rates
