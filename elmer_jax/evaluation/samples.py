# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The samples in the results of an evaluation: texts with every layer's predictions."""

from collections.abc import Mapping

import numpy as np

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


def upgrade(results: dict) -> dict:
  """Returns results of any format in the present one."""
  if results.get("format", 1) == FORMAT:
    return results
  samples = [
    {**sample, "exit_layers": [layer + 1 for layer in sample["exit_layers"]]}
    for sample in results.get("samples", ())
  ]
  return {**results, "samples": samples, "format": FORMAT}
