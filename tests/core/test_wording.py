# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers have their nouns in the right number."""

from elmer_jax.core.wording import count_of, format_duration


def test_one_is_singular():
  assert count_of(1, "text") == "1 text"
  assert count_of(0, "text") == "0 texts"
  assert count_of(12345, "text") == "12,345 texts"
  assert count_of(2, "batch", "batches") == "2 batches"


def test_durations_have_minutes():
  durations = [format_duration(seconds) for seconds in (5, 75, 4000)]
  assert durations == ["0:05", "1:15", "1:06:40"]
