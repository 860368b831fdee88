# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What decoding needs of a DAG checkpoint beside its weights, fitted after training.

Viterbi search has two settings that depend on the checkpoint: the exponent of the
text's length, and the weight of the token pairs' scores. Both are fitted to validation
data and stored in the checkpoint's own folder, as `dag.npz`.
"""

import functools
import itertools
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from elmer_jax.core import array_files
from elmer_jax.core.errors import UserError
from elmer_jax.decoding import dag_decoding, dag_search, token_pairs
from elmer_jax.decoding.decoded import text_length
from elmer_jax.decoding.decoding_model import DecodingParams
from elmer_jax.decoding.token_pairs import TokenPairs
from elmer_jax.metrics import text_metrics
from elmer_jax.model.config import ModelConfig
from elmer_jax.objectives.dag import DagOptions
from elmer_jax.tokenizer.bpe import Vocabulary

LENGTH_EXPONENTS = tuple(np.arange(0.6, 1.81, 0.1).round(2).tolist())
PAIR_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
LARGEST_SETTING = 5.0  # of both
_NAME = "dag.npz"
_MAX_BYTES = 1 << 30
_REMEDY = "delete it, and train again to fit another"


class DagSettings(NamedTuple):
  """Settings of a checkpoint that was trained with the objective `dag`."""

  options: DagOptions
  length_exponent: float = 1.0
  pair_weight: float = 0.0  # 0: pairs have no part
  pairs: TokenPairs | None = None


def fit(
  config: ModelConfig,
  params: DecodingParams,
  options: DagOptions,
  pairs: TokenPairs | None,
  vocabulary: Vocabulary,
  batches: Iterable[dict[str, np.ndarray]],
) -> tuple[DagSettings, float]:
  """Returns the settings for the mean of ROUGE-1, -2 and -L, and that mean.

  Scores are of the texts' words, separated by white space, in any script. They hardly
  change with the exponent near their maximum, where texts become longer and repeat
  themselves: taken is the lowest exponent whose scores are within one standard error of
  the best ones (the one-standard-error rule, Breiman et al., 1984).

  Args:
    config: the model's sizes.
    params: from `decoding_model.prepare`.
    options: those that the model was trained with.
    pairs: statistics of the training targets.
    vocabulary: the checkpoint's.
    batches: `source_ids` [B, S] and `target_ids` [B, T], int32, of validation data.
  """
  weights = PAIR_WEIGHTS if pairs is not None else PAIR_WEIGHTS[:1]
  scores = {setting: [] for setting in itertools.product(weights, LENGTH_EXPONENTS)}
  words = _Words(vocabulary)
  for batch in batches:
    targets_BxT = batch["target_ids"]
    references = words.read(targets_BxT)
    source_ids_BxS = jnp.asarray(batch["source_ids"])
    length = targets_BxT.shape[1]
    graph = dag_decoding.graph(
      config, params, source_ids_BxS, length=length, options=options
    )
    for weight in weights:
      scored = graph
      if weight:
        scored = _rescore(graph, pairs, weight, source_ids_BxS)
      for exponent in LENGTH_EXPONENTS:
        path = _viterbi(scored, length, exponent)
        outputs = words.read(np.asarray(path.ids_BxT))
        rouge = text_metrics.rouge_per_example(references, outputs)
        scores[weight, exponent] += np.mean(list(rouge.values()), axis=0).tolist()
  weight, exponent = _choose(scores)
  chosen = float(np.mean(scores[weight, exponent]))
  return DagSettings(options, exponent, weight, pairs), chosen


def _choose(scores: dict[tuple[float, float], list[float]]) -> tuple[float, float]:
  """Returns the setting, from the scores of each text with each setting."""
  best_N = np.array(max(scores.values(), key=np.mean))
  losses = {setting: best_N - values for setting, values in scores.items()}
  good = [
    setting
    for setting, loss_N in losses.items()
    if loss_N.mean() <= loss_N.std() / len(loss_N) ** 0.5
  ]
  lowest = min(exponent for _, exponent in good)
  return min((s for s in good if s[1] == lowest), key=lambda s: losses[s].mean())


_rescore = jax.jit(token_pairs.rescore)
_viterbi = functools.partial(jax.jit, static_argnums=1)(dag_search.viterbi)


def write(folder: epath.Path, settings: DagSettings) -> None:
  """Stores settings in a checkpoint's folder."""
  arrays = {
    "length_exponent": settings.length_exponent,
    "pair_weight": settings.pair_weight,
  }
  if settings.pairs is not None:
    arrays |= settings.pairs._asdict()
  array_files.write(pathlib.Path(folder / _NAME), arrays)


def exists(folder: epath.Path) -> bool:
  """Returns whether settings were fitted for the checkpoint in `folder`."""
  return (folder / _NAME).exists()


def read(folder: epath.Path, options: DagOptions, vocabulary_size: int) -> DagSettings:
  """Returns the settings of a checkpoint, the defaults if none were fitted.

  Raises:
    UserError: the file is damaged or of another model.
  """
  if not exists(folder):
    return DagSettings(options)
  path = pathlib.Path(folder / _NAME)
  arrays = array_files.read(path, _MAX_BYTES, _REMEDY)
  try:
    exponent, weight = float(arrays["length_exponent"]), float(arrays["pair_weight"])
    is_valid = 0 <= exponent <= LARGEST_SETTING and 0 <= weight <= LARGEST_SETTING
    pairs = None
    if weight:
      pairs = TokenPairs(*(jnp.asarray(arrays[name]) for name in TokenPairs._fields))
      is_valid &= token_pairs.is_valid(pairs, vocabulary_size)
  except (KeyError, ValueError, TypeError) as error:
    raise UserError(f"{path} can't be read: {_REMEDY}") from error
  if not is_valid:
    raise UserError(f"{path} belongs to another model: {_REMEDY}")
  return DagSettings(options, exponent, weight, pairs)


class _Words:
  """Texts as sequences of numbers, one a word, which ROUGE reads in any script."""

  def __init__(self, vocabulary: Vocabulary):
    self._vocabulary = vocabulary
    self._numbers: dict[str, int] = {}

  def read(self, ids_BxT: np.ndarray) -> list[str]:
    texts = [self._vocabulary.decode(ids_T[: text_length(ids_T)]) for ids_T in ids_BxT]
    return [
      " ".join(
        str(self._numbers.setdefault(word, len(self._numbers))) for word in text.split()
      )
      for text in texts
    ]
