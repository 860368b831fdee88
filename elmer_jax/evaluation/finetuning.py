# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluates a fine-tuned model: its scores, and those of variants and baselines.

`seqio.Evaluator` scores these systems with the metric functions of the task:

soft_exit, hard_exit, none, autoregressive   the model, named after its decoding
…_repeats_kept      the same with adjacent repeats kept, where they are removed
…_shuffled_source   the same with every source replaced by another example's
…_without_exits     hard exit with every token running through all layers
…_oracle_length     on demand: one pass with as many positions as the reference has
                    tokens, the setting of published figures
baseline_…          `evaluation.baselines`
"""

import contextlib
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence

import jax
import ml_collections
import numpy as np
import seqio
from absl import logging

from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.core.errors import UserError
from elmer_jax.core.quiet import quiet
from elmer_jax.core.wording import count_of
from elmer_jax.data import tasks
from elmer_jax.data.datasets import dataset_files
from elmer_jax.data.datasets.dataset import DatasetSpec
from elmer_jax.decoding import strategies
from elmer_jax.decoding.strategies import (
  Autoregressive,
  DagGreedy,
  DagLookahead,
  DagViterbi,
  HardExit,
  MaskPredict,
  NoExit,
  SoftExit,
  Strategy,
)
from elmer_jax.evaluation import baselines, own_pairs, samples
from elmer_jax.generation import api, text_results
from elmer_jax.metrics import text_metrics

_TRAINING_PAIRS = 100_000  # the first ones; baselines are fitted to these

Rows = Sequence[np.ndarray]  # token ids int32 [n] of every example

# The name of the model's own system, by its decoding strategy.
_SYSTEMS = {
  NoExit: "none",
  SoftExit: "soft_exit",
  HardExit: "hard_exit",
  DagViterbi: "dag",
  DagLookahead: "dag_lookahead",
  DagGreedy: "dag_greedy",
  MaskPredict: "mask_predict",
  Autoregressive: "autoregressive",
}


def evaluate_finetuning(
  config: ml_collections.ConfigDict,
  workdir: str,
  model: api.Model,
  split: str,
  decoding: Strategy | None,
  oracle_length: bool = False,
) -> tuple[dict, list[dict]]:
  """Decodes and scores the examples of a split: all, or `evaluate.examples` of them.

  Args:
    config: of the run.
    workdir: its folder.
    model: its newest checkpoint.
    split: of the task.
    decoding: the decoding strategy, by default the one the model was trained for.
    oracle_length: whether to decode with the references' lengths as well.

  Returns:
    The content of `evaluation/SPLIT.json`: scores by system, the shares of distinct
    outputs and of tokens that were removed as repeats, and samples; and the source,
    reference and output of every example.

  Raises:
    UserError: the task does not consist of pairs, or has no such split.
  """
  tasks.use_vocabulary(orbax_checkpoint.find_checkpoint(workdir)[0] / "vocabulary")
  with _task(config, split) as (task, references_of):
    spec = task.source.spec
    if split not in spec.splits:
      has = ", ".join(spec.splits)
      raise UserError(f"task {config.data.task} has no split {split!r}; it has {has}")
    evaluator = _Evaluator(task, model, split, config.evaluate.examples)
    baseline_of = _baselines(spec, split)
    sources = [source for source, _ in evaluator.pairs]
    decoding = (decoding or strategies.default(model)).resolve(model)
    main = _SYSTEMS[type(decoding)]
    every_token = _generate(model, sources, decoding)
    results = every_token
    if decoding.repeats_neighbours:
      results = [
        text_results.without_repeats(model.vocabulary, result) for result in every_token
      ]
    systems = _model_systems(main, every_token, results)
    if main == "hard_exit":
      all_layers = api.generate(model, sources, NoExit(), details=False)
      systems["hard_exit_without_exits"] = [result.token_ids for result in all_layers]
    by_oracle = None
    if oracle_length:
      lengths = _lengths(model, [reference for _, reference in evaluator.pairs])
      by_oracle = api.generate(model, sources, decoding, oracle_lengths=lengths)
      systems[f"{main}_oracle_length"] = [result.token_ids for result in by_oracle]
    for name, baseline in baseline_of.items():
      systems[name] = model.vocabulary.encode_batch(list(map(baseline, sources)))
    scores = {name: evaluator.scores(rows) for name, rows in systems.items()}

  tokens = sum(len(result.token_ids) for result in every_token)
  found = {
    "format": samples.FORMAT,
    "split": split,
    "examples": len(results),
    "drawn": config.evaluate.examples,
    "parameters": sum(leaf.size for leaf in jax.tree.leaves(model.params)),
    "distinct_outputs": scores[main]["distinct_outputs"],
    "removed_repeats": sum(r.removed_repeats for r in results) / max(tokens, 1),
    "mean_exit_layer": mean_exit_layer(every_token),
    "systems": scores,
    "samples": _samples(model, evaluator.pairs, results, main),
  }
  references = [reference for _, reference in evaluator.pairs]
  if "rougeL" in scores[main]:
    found["references_without_words"] = text_metrics.share_without_words(references)
  predictions = [
    {"source": source, "reference": reference, "output": result.text}
    for (source, reference), result in zip(evaluator.pairs, results, strict=True)
  ]
  for line in predictions:
    if len(several := references_of.get(line["source"], ())) > 1:
      line["references"] = several
  if by_oracle:
    found["oracle_length"] = True
    for line, result in zip(predictions, by_oracle, strict=True):
      line["output_with_oracle_length"] = result.text
  return found, predictions


def _lengths(model: api.Model, references: Sequence[str]) -> list[int]:
  """Returns the tokens of references with EOS, at most the model's positions."""
  rows = model.vocabulary.encode_batch(list(references))
  return [min(len(ids) + 1, model.target_length) for ids in rows]


def mean_exit_layer(results: Sequence[api.Result]) -> float | None:
  """Returns the mean exit layer of all tokens, from 1; None if there are no tokens."""
  layers_N = np.concatenate([result.exit_layers for result in results])
  return float(layers_N.mean()) if layers_N.size else None


def _generate(
  model: api.Model, sources: Sequence[str], decoding: Strategy
) -> list[api.Result]:
  start = time.monotonic()
  results = api.generate(model, sources, decoding, remove_repeats=False)
  seconds = time.monotonic() - start
  logging.info("%s generated in %.1f s", count_of(len(results), "text"), seconds)
  return results


def _model_systems(
  name: str, every_token: Sequence[api.Result], results: Sequence[api.Result]
) -> dict[str, Rows]:
  """Returns the ids of the model's outputs and of their variants, by name."""
  ids = [result.token_ids for result in results]
  systems = {name: ids}
  if results is not every_token:
    systems[f"{name}_repeats_kept"] = [result.token_ids for result in every_token]
  # An output depends on its source alone, so exchanging outputs exchanges sources.
  # Neighbouring examples often have the same subject; those half-way on do not.
  half = len(ids) // 2
  systems[f"{name}_shuffled_source"] = ids[half:] + ids[:half]
  return systems


@contextlib.contextmanager
def _task(
  config: ml_collections.ConfigDict, split: str
) -> Iterator[tuple[seqio.Task, own_pairs.References]]:
  """Yields the task of a run, and the references of sources that may have several.

  One of the user's own pairs exists within the context.
  """
  if dataset_files.has_own_files(config):
    with own_pairs.registered(config, split) as found:
      yield found
    return
  with dataset_files.use_configured_files(config):
    specs = tasks.dataset_specs_of(config.data.task)
    if len(specs) > 1 or specs[0][0].kind != "pairs":
      raise UserError(
        f"{config.data.task} can't be evaluated: it is not one task of source and "
        "target"
      )
    yield seqio.TaskRegistry.get(specs[0][0].name), {}


class _Evaluator:
  """A `seqio.Evaluator` of one split of one task, or of `examples` drawn from it.

  Attributes:
    pairs: source and (first) reference of every example.
  """

  def __init__(self, task: seqio.Task, model: api.Model, split: str, examples: int):
    self._name = task.name
    lengths = {"inputs": model.source_length, "targets": model.target_length}
    with quiet():
      self._evaluator = seqio.Evaluator(
        task.name,
        seqio.EncDecFeatureConverter(pack=False),
        split,
        sequence_length=lengths,
        num_examples=examples or None,
        shuffle=examples > 0,
      )
      sources = tasks.texts(self._evaluator)
      references = tasks.texts(self._evaluator, "targets")
      self.pairs = list(zip(sources, references, strict=True))
    if not self.pairs:
      raise UserError(f"task {task.name} has no examples in its split {split!r}")

  def scores(self, rows: Rows) -> dict[str, float]:
    """Returns the scores of generated ids by the task's metric functions."""

    def predict(dataset) -> list[tuple[int, np.ndarray]]:
      del dataset  # the ids were decoded from the sources alone
      return tasks.predictions(rows)

    with quiet():
      found, _ = self._evaluator.evaluate(compute_metrics=True, predict_fn=predict)
      metrics = found.result()[self._name]
    return {name: float(value) for name, value in metrics.items()}


def _baselines(spec: DatasetSpec, split: str) -> Mapping[str, baselines.Baseline]:
  """Returns baselines fitted to pairs other than the scored ones.

  There are none without a training split.
  """
  if "train" not in spec.splits:
    return {}
  train = itertools.islice(spec.read("train"), _TRAINING_PAIRS)
  if split != "validation" and "validation" in spec.splits:
    targets = [target for _, target in train]
    held_out = list(itertools.islice(spec.read("validation"), _TRAINING_PAIRS))
  else:
    pairs = list(train)
    targets, held_out = [target for _, target in pairs[::2]], pairs[1::2]
    held_out = held_out or pairs
  return baselines.fit(targets, held_out)


def _samples(
  model: api.Model,
  pairs: Sequence[tuple[str, str]],
  results: Sequence[api.Result],
  system: str,
) -> list[dict]:
  """Describes examples that are evenly spaced, and what each layer predicted.

  Their exit layers are where tokens exited, or, where all run through all layers, where
  their predictions last changed.
  """
  vocabulary, rows = model.vocabulary, model.source_rows()
  chosen = baselines.evenly_spaced(
    list(zip(pairs, results, strict=True)), samples.COUNT
  )
  return [
    samples.describe(
      vocabulary,
      {
        "source": source,
        "source_read": vocabulary.decode(rows.rows([source], 1)[0]),
        "reference": reference,
        "output": result.text,
      },
      result.token_ids,
      result.token_ids[None] if result.by_layer is None else result.by_layer,
      result.exit_layers
      if system == "hard_exit" or result.by_layer is None
      else result.stable_layers,
    )
    for (source, reference), result in chosen
  ]
