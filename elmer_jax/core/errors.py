# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The exception for wrong input, and what can be printed of it."""


def printable(text: str) -> str:
  """Returns a text with its control characters escaped: it may be from a file."""
  return "".join(
    c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
  )


class UserError(Exception):
  """Bad input: what is wrong, where, and what to do, in one line.

  The commands print the line to standard error and exit with status 2. Any other
  exception is a defect of this package and keeps its traceback.
  """
