# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluates a pre-trained model: its loss and the losses to compare it with.

A model that ignores its input can reach the unigram loss. A model that uses its input
has a higher loss when every source is replaced by another example's.
"""

from pathlib import Path

import jax
import ml_collections
import numpy as np

from elmer_jax import configuration, objectives
from elmer_jax.core.json_files import damaged, is_of, read_lines
from elmer_jax.data import prepared_data
from elmer_jax.decoding.strategies import NoExit
from elmer_jax.evaluation import samples
from elmer_jax.generation import api, text_results
from elmer_jax.parallel.mesh import make_mesh
from elmer_jax.tokenizer import mask_text
from elmer_jax.tokenizer.special_ids import PAD_ID
from elmer_jax.training.optimizer import make_optimizer
from elmer_jax.training.step import make_program
from elmer_jax.training.validation import validate, validation_batches

Rows = dict[str, np.ndarray]


def evaluate_pretraining(
  config: ml_collections.ConfigDict, workdir: str, model: api.Model
) -> dict:
  """Returns the content of `evaluation/pretrain.json`.

  Losses are nats per target token (not PAD; EOS counts) of the same validation batches
  and exit draws that training uses.
  """
  mesh = make_mesh(config)
  program = make_program(
    configuration.model_config(config, model.vocabulary.size),
    objectives.get(config),
    *make_optimizer(config),
    mesh,
    config,
  )
  held_out = validation_batches(config, workdir, model.vocabulary)
  with jax.set_mesh(mesh):
    params = jax.device_put(model.params, program.shardings.params)
    own = validate(program, params, mesh, held_out, config.seed)
    shuffled = validate(
      program, params, mesh, with_shuffled_sources(held_out), config.seed
    )
  train_caches = prepared_data.open_caches(config, workdir, model.vocabulary, "train")
  counts_V = sum(cache.unigrams() for cache, _ in train_caches)
  history = _history(workdir)
  return {
    "format": samples.FORMAT,
    "initial_validation_loss": history["initial"],
    "final_validation_loss": own["loss"],
    "unigram_loss": unigram_loss(counts_V, held_out),
    "shuffled_source_loss": shuffled["loss"],
    "tokens_per_second": history["tokens_per_second"],
    "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
    "examples": sum(len(rows["target_ids"]) for rows in held_out),
    "samples": _samples(model, held_out),
  }


def with_shuffled_sources(batches: list[Rows]) -> list[Rows]:
  """Returns batches where every example has the source of the example half-way on."""
  sources = np.concatenate([rows["source_ids"] for rows in batches])
  size = len(batches[0]["source_ids"])
  moved = np.roll(sources, len(sources) // 2, axis=0)
  return [
    rows | {"source_ids": moved[number * size : (number + 1) * size]}
    for number, rows in enumerate(batches)
  ]


def unigram_loss(counts_V: np.ndarray, batches: list[Rows]) -> float:
  """Returns the cross-entropy of the targets under the training split's frequencies.

  Add-one smoothing gives unseen ids a probability.
  """
  log_p_V = np.log(counts_V + 1.0) - np.log((counts_V + 1.0).sum())
  targets = np.concatenate([rows["target_ids"].ravel() for rows in batches])
  return float(-log_p_V[targets[targets != PAD_ID]].mean())


def _history(workdir: str) -> dict[str, float]:
  """Reads the first validation loss and the median rate from metrics.jsonl."""
  path = Path(workdir) / "metrics.jsonl"
  entries = list(read_lines(path, {"split": str, "step": int, "loss": float}))
  firsts = [e for e in entries if e["split"] == "validation" and e["step"] == 0]
  rates = [e.get("tokens_per_second") for e in entries if e["split"] == "train"]
  rates = [rate for rate in rates if is_of(rate, float)]
  if not (firsts and rates):
    raise damaged(path, "it lacks the losses or rates of a pre-training")
  return {"initial": firsts[0]["loss"], "tokens_per_second": float(np.median(rates))}


def _samples(model: api.Model, batches: list[Rows]) -> list[dict]:
  """Decodes texts evenly spaced over the validation batches, all layers of each."""
  every = {
    name: np.concatenate([rows[name] for rows in batches])
    for name in ("source_ids", "target_ids")
  }
  chosen = np.linspace(0, len(every["source_ids"]) - 1, samples.COUNT).astype(int)
  sources, targets = every["source_ids"][chosen], every["target_ids"][chosen]
  decoded = NoExit().decode(model, sources, targets.shape[1], details=True)
  vocabulary = model.vocabulary
  return [
    samples.describe(
      vocabulary,
      {
        "source": mask_text.decode(vocabulary, source),
        "target": vocabulary.decode(target),
        "output": result.text,
      },
      result.token_ids,
      result.by_layer,
      result.stable_layers,
    )
    for source, target, result in zip(
      sources, targets, text_results.results(decoded, vocabulary), strict=True
    )
  ]
