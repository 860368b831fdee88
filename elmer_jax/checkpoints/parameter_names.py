# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Names of parameters in checkpoints of format 1, some of which have changed since."""

from typing import Any

_FORMAT_1 = {
  "attention_residual": "attention_join",
  "cross_attention_residual": "cross_attention_join",
  "feed_forward_residual": "feed_forward_join",
  "up_proj": "widen",
  "down_proj": "narrow",
}
_CURRENT = {old: new for new, old in _FORMAT_1.items()}


def to_format_1(tree: Any) -> Any:
  """Returns a nested dict with the names of format 1: parameters or optimizer state."""
  return _rename(tree, _FORMAT_1)


def from_format_1(tree: Any) -> Any:
  """Returns a nested dict of format 1 with today's names."""
  return _rename(tree, _CURRENT)


def _rename(tree: Any, names: dict[str, str]) -> Any:
  if not isinstance(tree, dict):
    return tree
  return {names.get(name, name): _rename(part, names) for name, part in tree.items()}
