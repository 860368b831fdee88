# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The samples in the results of an evaluation: texts with every layer's predictions."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from elmer_jax.core.json_files import Fields, check_object, damaged, is_of, read_object
from elmer_jax.tokenizer.bpe import Vocabulary

COUNT = 20
FORMAT = 2  # of results; in format 1, without a mark, exit layers counted from 0


def describe(
  vocabulary: Vocabulary,
  texts: Mapping[str, str],
  ids_N: np.ndarray,
  by_layer_LxN: np.ndarray,
  exit_layers_N: np.ndarray,
) -> dict:
  """Returns a sample: texts, and an output in pieces that people can read.

  Args:
    vocabulary: the model's.
    texts: source, reference and output, by their names in the sample.
    ids_N: int32, the output's tokens.
    by_layer_LxN: int32, each decoder layer's predictions.
    exit_layers_N: of each token, from 1.
  """
  return {
    **texts,
    "pieces": vocabulary.pieces(ids_N),
    "layers": [vocabulary.pieces(layer_N) for layer_N in by_layer_LxN],
    "exit_layers": exit_layers_N.tolist(),
  }


def read_text(sample: Mapping[str, str], key: str) -> str:
  """Returns a text of a sample; of a source that was truncated, what the model read."""
  text = sample[key]
  read = sample.get(f"{key}_read", text)
  return text if len(read) >= len(text) else f"{read} … (the model reads no further)"


_FIELDS = {"pieces": list, "layers": list, "exit_layers": list}
_REMEDY = "delete it and evaluate again"


def read_results(path: Path, fields: Fields | None = None) -> dict:
  """Returns the results that a file holds, in the present format.

  Args:
    path: of a file that `evaluate` wrote, of any format.
    fields: that they must have.

  Raises:
    UserError: it can't be read, or is damaged.
  """
  results = read_object(path, fields, _REMEDY)
  for sample in results.get("samples", ()):
    layers = check_object(sample, str(path), _FIELDS, _REMEDY)["exit_layers"]
    if not all(is_of(layer, int) for layer in layers):
      raise damaged(path, "exit_layers are not numbers of layers", _REMEDY)
  for scores in results.get("systems", {}).values():
    check_object(scores, str(path), remedy=_REMEDY)
  return _upgrade(results)


def _upgrade(results: dict) -> dict:
  if results.get("format", 1) == FORMAT:
    return results
  samples = [
    {**sample, "exit_layers": [layer + 1 for layer in sample["exit_layers"]]}
    for sample in results.get("samples", ())
  ]
  return {**results, "samples": samples, "format": FORMAT}
