# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What a fine-tuned model's texts are worth, beside texts that need no model.

Everything is scored by `seqio.Evaluator` with the metric functions of the task: the
model (named after its exit, `soft_exit`, `hard_exit` or `none`, or `autoregressive`),
the same with adjacent repeats kept (`_repeats_kept`; only of one-pass models), the same
with every source replaced by another example's (`_shuffled_source`), and the baselines.
Of a model with hard exit, the same with every token running through all layers
(`_without_exits`) too. On demand, a one-pass model's texts with as many positions as
the reference has tokens (`_oracle_length`): so were published figures taken.
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
from elmer_jax.data import tasks
from elmer_jax.data.datasets import dataset_files
from elmer_jax.data.datasets.dataset import DatasetSpec
from elmer_jax.data.datasets.local_files import pair_files_dataset
from elmer_jax.decoding import one_pass
from elmer_jax.evaluation import baselines
from elmer_jax.generation import api

SAMPLES = 20
# Of more training pairs than these, the baselines see the first ones.
_TRAINING_PAIRS = 100_000

Rows = Sequence[np.ndarray]  # token ids int32 [n] of every example


def evaluate_finetuning(
  config: ml_collections.ConfigDict,
  workdir: str,
  model: api.Model,
  split: str,
  settings: Mapping[str, object],
  oracle_length: bool = False,
) -> tuple[dict, list[dict]]:
  """Decodes and scores the examples of a split: all, or those that are drawn.

  Args:
    config: of the run.
    workdir: its folder.
    model: its newest checkpoint.
    split: of the task.
    settings: keyword arguments of `api.generate`.
    oracle_length: whether to decode with the references' lengths as well.

  Returns:
    The content of `evaluation/SPLIT.json`: scores by system, the shares of distinct
    outputs and of tokens that were removed as repeats, and samples; and the source,
    reference and output of every example.

  Raises:
    UserError: the task is none of pairs, or has no such split.
  """
  tasks.use_vocabulary(orbax_checkpoint.find_checkpoint(workdir)[0] / "vocabulary")
  with _task(config) as task:
    spec = task.source.spec
    if split not in spec.splits:
      has = ", ".join(spec.splits)
      raise UserError(f"task {config.data.task} has no split {split!r}; it has {has}")
    evaluator = _Evaluator(task, model, split, config.evaluate.examples)
    writers = _baselines(spec, split)
    sources = [source for source, _ in evaluator.pairs]
    every_token = _generate(model, sources, settings)
    results = every_token
    if model.objective != "autoregressive":
      results = [api.without_repeats(model, result) for result in every_token]
    name = _name(model, settings)
    systems = _model_systems(name, every_token, results)
    if name == "hard_exit":
      all_layers = api.generate(model, sources, exit="none", details=False)
      systems["hard_exit_without_exits"] = [result.token_ids for result in all_layers]
    by_oracle = None
    if oracle_length:
      lengths = _lengths(model, [reference for _, reference in evaluator.pairs])
      by_oracle = api.generate(model, sources, oracle_lengths=lengths, **settings)
      systems[f"{name}_oracle_length"] = [result.token_ids for result in by_oracle]
    for name, writer in writers.items():
      systems[name] = model.vocabulary.encode_batch(list(map(writer, sources)))
    scores = {name: evaluator.scores(rows) for name, rows in systems.items()}

  main = next(iter(scores))
  tokens = sum(len(result.token_ids) for result in every_token)
  found = {
    "split": split,
    "examples": len(results),
    "drawn": config.evaluate.examples,
    "parameters": sum(leaf.size for leaf in jax.tree.leaves(model.params)),
    "distinct_outputs": scores[main]["distinct_outputs"],
    "removed_repeats": sum(r.removed_repeats for r in results) / max(tokens, 1),
    "mean_exit_layer": mean_exit_layer(model, every_token, name == "hard_exit"),
    "systems": scores,
    "samples": _samples(model, evaluator.pairs, results),
  }
  predictions = [
    {"source": source, "reference": reference, "output": result.text}
    for (source, reference), result in zip(evaluator.pairs, results, strict=True)
  ]
  if by_oracle:
    found["oracle_length"] = True
    for line, result in zip(predictions, by_oracle, strict=True):
      line["output_with_oracle_length"] = result.text
  return found, predictions


def _lengths(model: api.Model, references: Sequence[str]) -> list[int]:
  """Returns the tokens of references, EOS included, as far as the model has room."""
  rows = model.vocabulary.encode_batch(list(references))
  return [min(len(ids) + 1, model.target_length) for ids in rows]


def mean_exit_layer(
  model: api.Model, results: Sequence[api.Result], is_hard: bool
) -> float | None:
  """Returns the decoder layers that a token runs through, over all tokens before EOS.

  Only hard exit spares any. None where there is no token.
  """
  if not is_hard:
    return float(model.config.decoder_layers)
  layers_N = np.concatenate([result.exit_layers for result in results])
  return float(layers_N.mean() + 1) if layers_N.size else None


def _generate(
  model: api.Model, sources: Sequence[str], settings: Mapping[str, object]
) -> list[api.Result]:
  start = time.monotonic()
  results = api.generate(model, sources, remove_repeats=False, **settings)
  seconds = time.monotonic() - start
  logging.info("%d texts written in %.1f s", len(results), seconds)
  return results


def _name(model: api.Model, settings: Mapping[str, object]) -> str:
  """Returns how the model's own system is called, by how it writes."""
  if model.objective == "autoregressive":
    return model.objective
  exit = settings.get("exit") or one_pass.default_exit(model.objective)
  return {"soft": "soft_exit", "hard": "hard_exit", "none": "none"}[exit]


def _model_systems(
  name: str, every_token: Sequence[api.Result], results: Sequence[api.Result]
) -> dict[str, Rows]:
  """Returns the ids of the model's texts and of their variants, by name."""
  ids = [result.token_ids for result in results]
  systems = {name: ids}
  if results is not every_token:
    systems[f"{name}_repeats_kept"] = [result.token_ids for result in every_token]
  # A text follows from its source alone, so exchanging the texts does the same. The
  # neighbours' won't do: they often are about the same thing.
  half = len(ids) // 2
  systems[f"{name}_shuffled_source"] = ids[half:] + ids[:half]
  return systems


@contextlib.contextmanager
def _task(config: ml_collections.ConfigDict) -> Iterator[seqio.Task]:
  """Yields the task of a run; own pairs are one as long as they are needed."""
  if dataset_files.has_own_files(config):
    spec = pair_files_dataset("own_pairs", config.data.files)
    try:
      yield tasks.register_pairs(spec)
    finally:
      seqio.TaskRegistry.remove(spec.name)
    return
  with dataset_files.use_configured_files(config):
    specs = tasks.dataset_specs_of(config.data.task)
    if len(specs) > 1 or specs[0][0].kind != "pairs":
      raise UserError(
        f"{config.data.task} can't be evaluated: it is not one task of source and "
        "target"
      )
    yield seqio.TaskRegistry.get(specs[0][0].name)


class _Evaluator:
  """A `seqio.Evaluator` of one split of one task, or of `examples` drawn from it.

  Attributes:
    pairs: source and reference of every example.
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
    """Returns what the task's metric functions say of generated ids."""

    def predict(dataset) -> list[tuple[int, np.ndarray]]:
      del dataset  # has the references as well; all decoding was done from the sources
      return tasks.predictions(rows)

    with quiet():
      found, _ = self._evaluator.evaluate(compute_metrics=True, predict_fn=predict)
      metrics = found.result()[self._name]
    return {name: float(value) for name, value in metrics.items()}


def _baselines(spec: DatasetSpec, split: str) -> Mapping[str, baselines.Writer]:
  """Returns the baselines, chosen on pairs that are not the scored ones.

  Without a training split there are none that learn from it.
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
) -> list[dict]:
  """Describes some examples, spread over all, with what every layer predicted."""
  pieces = model.vocabulary.pieces
  return [
    {
      "source": source,
      "reference": reference,
      "output": result.text,
      "pieces": pieces(result.token_ids),
      "layers": [pieces(ids_N) for ids_N in result.by_layer],
      "exit_layers": result.exit_layers.tolist(),
    }
    for (source, reference), result in baselines.spread(
      list(zip(pairs, results, strict=True)), SAMPLES
    )
  ]
