# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A line of input that does not end is refused, however it is read."""

import io

import pytest

from elmer_jax.core.errors import UserError
from elmer_jax.generation import source_lines
from elmer_jax.generation.source_lines import SourceLines


@pytest.mark.parametrize("field", [None, "source"])
def test_a_line_has_an_end(field, monkeypatch):
  monkeypatch.setattr(source_lines, "LINE_CHARACTERS", 30)
  lines = SourceLines(io.StringIO('{"source": "a"}\n' + "\0" * 99), "--input=x", field)
  texts = lines.texts()
  assert "a" in next(texts)
  with pytest.raises(UserError, match="--input=x, line 2: longer than 30 characters"):
    next(texts)
