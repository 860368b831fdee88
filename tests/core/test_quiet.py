# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What native libraries print is hidden, unless it explains a failure."""

import os

import pytest

from elmer_jax.core import quiet


def test_native_messages_are_hidden_unless_the_block_fails(capfd):
  with quiet._hidden_standard_error():
    os.write(2, b"no GPU here\n")
  os.write(2, b"after\n")
  assert capfd.readouterr().err == "after\n"
  with pytest.raises(ImportError), quiet._hidden_standard_error():
    os.write(2, b"a library is missing\n")
    raise ImportError
  assert capfd.readouterr().err == "a library is missing\n"
