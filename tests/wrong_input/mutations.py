# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Random changes that make right input wrong."""

import json
from pathlib import Path

import numpy as np

# What a user, another program or a damaged disk may put where something else belongs.
ODD_VALUES = (
  *(None, True, False, 0, 1, -1, 2.5, 1e308, -0.0, 10**30, float("nan"), float("inf")),
  *("", " ", "x", "3", "-1", "1e999", "9" * 5000, "nan", "true", "None", "none", "[]"),
  *("../../evil", "/etc/passwd", "~", "gs://b/x", "\0", "a\nb\x1b[2J", "\ud800"),
  *("ä" * 300, [], [1, 2], {}, {"a": 1}, [[[[]]]], [None], ["x"], [{}]),
)
ODD_BYTES = (
  *(b"", b"\0", b"\n", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b"\t", b'"', b"[", b"{"),
  *(b"NaN", b"9" * 5000, b"[" * 5000, b"\x1b[2J", b"\xf0\x9f", b"PAR1", b"\x1f\x8b"),
  *(b" " * 5000, b'{"text": 3}\n', b"a\tb\tc\td\n", b"\xed\xa0\x80", b"<mask>", b"\\u"),
)


def odd_value(rng: np.random.Generator) -> object:
  return ODD_VALUES[rng.integers(len(ODD_VALUES))]


def change_bytes(rng: np.random.Generator, data: bytes) -> bytes:
  """Returns data with one to three places flipped, cut, doubled or replaced."""
  data = bytearray(data)
  for _ in range(rng.integers(1, 4)):
    start, end = sorted(rng.integers(0, len(data) + 1, 2))
    end = min(end, start + 64)
    kind = rng.integers(5)
    if kind == 0 and data:
      data[min(start, len(data) - 1)] ^= 1 << rng.integers(8)
    elif kind == 1:
      del data[start:]
    elif kind == 2:
      del data[start:end]
    elif kind == 3:
      data[start:start] = data[start:end]
    else:
      data[start:end] = ODD_BYTES[rng.integers(len(ODD_BYTES))]
  return bytes(data)


def change_json(rng: np.random.Generator, content: object) -> object:
  """Returns JSON with one value replaced, removed or renamed, at any depth."""
  if isinstance(content, (dict, list)) and content and rng.random() < 0.85:
    keys = list(content) if isinstance(content, dict) else range(len(content))
    key = keys[rng.integers(len(keys))]
    changed = content.copy()
    kind = rng.random()
    if kind < 0.15:
      del changed[key]
    elif kind < 0.25 and isinstance(content, dict):
      changed[f"{key}x"] = changed.pop(key)
    else:
      changed[key] = change_json(rng, content[key])
    return changed
  return odd_value(rng)


def change_file(rng: np.random.Generator, path: Path) -> None:
  """Changes a file as a whole, its bytes or its JSON; or removes it."""
  kind = rng.random()
  if kind < 0.05:
    path.unlink()
  elif kind < 0.6 and (content := _json(path)) is not None:
    path.write_text(json.dumps(change_json(rng, content)))
  else:
    path.write_bytes(change_bytes(rng, path.read_bytes()))


def _json(path: Path) -> object:
  """Returns what a JSON file holds; None for another, or a damaged one."""
  try:
    return json.loads(path.read_text()) if path.suffix == ".json" else None
  except ValueError:
    return None
