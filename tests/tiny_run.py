# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The folder of a run that was never trained: random weights, saved as a run saves."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import optax

from elmer_jax import configuration
from elmer_jax.checkpoints import orbax_checkpoint, steps
from elmer_jax.checkpoints.train_state import TrainState
from elmer_jax.commands.run_folder import claim_run_folder
from elmer_jax.model import elmer
from elmer_jax.tokenizer.bpe import Vocabulary

STEP = 6


def write(
  config: ml_collections.ConfigDict, workdir: Path, vocabulary: Vocabulary
) -> None:
  """Writes configuration, checkpoint and metrics, as far as `evaluate` reads them."""
  claim_run_folder(config, str(workdir))
  sizes = configuration.model_config(config, vocabulary.size)
  params = listening(elmer.initialise(sizes, 0))
  state = TrainState(jnp.int32(STEP), params, optax.adam(1e-3).init(params))
  metadata = {
    "model": orbax_checkpoint.model_sizes(sizes),
    "objective": config.objective.to_dict(),
    "source_length": config.data.source_length,
    "target_length": config.data.target_length,
    "seconds": 0.0,
  }
  folder = orbax_checkpoint.checkpoints_folder(str(workdir))
  with steps.open_manager(folder) as manager:
    orbax_checkpoint.save(manager, state, metadata)
    manager.wait_until_finished()
  vocabulary.save(folder / "vocabulary")
  lines = [
    {"step": STEP, "split": split, "loss": 1.0} for split in ("train", "validation")
  ]
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (workdir / "metrics.jsonl").write_text(text)


def listening(params: dict) -> dict:
  """Makes a fresh decoder hear the source, so that outputs differ."""

  def louder(path: tuple, leaf: jax.Array) -> jax.Array:
    name = jax.tree_util.keystr(path)
    return 30 * leaf if "cross_attention'" in name and "kernel" in name else leaf

  return jax.tree_util.tree_map_with_path(louder, params)
