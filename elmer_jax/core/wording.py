# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers and durations as people write them."""


def count_of(number: int, noun: str, plural: str | None = None) -> str:
  """Returns "1 text", "2 texts" or "1,234 texts"; `plural` is by default with an s."""
  return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def format_duration(seconds: float) -> str:
  """Returns 75 as '1:15' and 4000 as '1:06:40'."""
  minutes, rest = divmod(int(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
