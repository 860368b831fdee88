# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The length exponent of Viterbi search in a DAG: fitted on validation data.

A checkpoint's exponent is in `length_exponent.json` in the checkpoint's own folder.
"""

import json
from collections.abc import Iterable, Sequence

import jax
import numpy as np
from etils import epath

from elmer_jax.core.errors import UserError
from elmer_jax.decoding.dag_strategies import DagViterbi
from elmer_jax.decoding.decoded import text_length
from elmer_jax.decoding.strategy import TrainedModel
from elmer_jax.metrics import text_metrics

CANDIDATES = tuple(np.arange(0.5, 2.01, 0.1).round(2).tolist())
DEFAULT = 1.0
_NAME = "length_exponent.json"


def fit(
  model: TrainedModel,
  batches: Iterable[dict[str, np.ndarray]],
  candidates: Sequence[float] = CANDIDATES,
) -> dict[float, float]:
  """Returns the mean ROUGE-L, 0 to 100, of each candidate.

  It is computed on token ids, so that it means the same for every script.

  Args:
    model: trained with the objective `dag`.
    batches: `source_ids` [B, S] and `target_ids` [B, T], int32, of validation data.
    candidates: exponents to try.
  """
  scores: dict[float, list[float]] = {exponent: [] for exponent in candidates}
  for batch in batches:
    targets_BxT = batch["target_ids"]
    references = [_as_words(ids_T) for ids_T in targets_BxT]
    for exponent in candidates:
      decoded = DagViterbi(exponent).decode(
        model, jax.numpy.asarray(batch["source_ids"]), targets_BxT.shape[1]
      )
      outputs = [_as_words(ids_T) for ids_T in np.asarray(decoded.ids)]
      rouge = text_metrics.rouge_per_example(references, outputs, ("rougeL",))
      scores[exponent] += rouge["rougeL"].tolist()
  return {exponent: float(np.mean(values)) for exponent, values in scores.items()}


def write(folder: epath.Path, scores: dict[float, float]) -> float:
  """Stores the best exponent with a checkpoint, and returns it."""
  best = max(scores, key=scores.get)
  temporary = folder / f".{_NAME}"
  temporary.write_text(json.dumps({"length_exponent": best, "rougeL": scores}))
  temporary.replace(folder / _NAME)
  return best


def read(folder: epath.Path) -> float:
  """Returns the exponent stored with a checkpoint, DEFAULT if there is none.

  Raises:
    UserError: the file can't be read.
  """
  path = folder / _NAME
  if not path.exists():
    return DEFAULT
  try:
    return float(json.loads(path.read_text())["length_exponent"])
  except (OSError, ValueError, KeyError, TypeError):
    raise UserError(f"{path} can't be read: delete it") from None


def _as_words(ids_T: np.ndarray) -> str:
  return " ".join(map(str, ids_T[: text_length(ids_T)].tolist()))
