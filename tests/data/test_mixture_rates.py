# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Rates of a mixture: every part has one, and mistakes are errors of one line."""

import pytest

from elmer_jax.core.errors import UserError
from elmer_jax.data.mixture_rates import parse_rates


def test_every_part_has_a_rate():
  parts = ["wikipedia_lplm", "books_lplm"]
  assert parse_rates(" wikipedia_lplm=1, books_lplm = 2.5", parts) == {
    "wikipedia_lplm": 1.0,
    "books_lplm": 2.5,
  }
  assert parse_rates("", parts) == {}


@pytest.mark.parametrize(
  ("rates", "message"),
  [
    (
      "wiki_lplm=1,books_lplm=2",
      "no part 'wiki_lplm'.* Did you mean 'wikipedia_lplm'",
    ),
    ("books_lplm=2", "no rate for wikipedia_lplm"),
    ("wikipedia_lplm=1,books_lplm=0", "must be above 0; it is '0'"),
    ("wikipedia_lplm=1,books_lplm", "must be above 0; it is ''"),
    ("wikipedia_lplm=1,books_lplm=inf", "must be above 0; it is 'inf'"),
  ],
)
def test_invalid_rates_raise(rates, message):
  with pytest.raises(UserError, match=message):
    parse_rates(rates, ["wikipedia_lplm", "books_lplm"])
