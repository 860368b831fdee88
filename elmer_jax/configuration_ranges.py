# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The range of every number of a configuration; what it means is in `configuration`.

Those of the keys `model.…` are in `model.config`.
"""

from elmer_jax.core.ranges import Range

_SEEDS = Range(0, 2**31 - 1)
_STEPS = Range(1, 10**9)
_LENGTHS = Range(4, 2**20)
_SHARES = Range(0, 1)
_LARGEST = 1e30  # a float32 can still be multiplied by it
_AXES = Range(-1, 2**20, without=(0,))

RANGES = {
  "seed": _SEEDS,
  "data.vocabulary_size": Range(261, 2**24),  # the bytes and the special tokens
  "data.source_length": _LENGTHS,
  "data.corrupted_length": Range(0, 2**20),
  "data.target_length": _LENGTHS,
  "data.batch_size": Range(1, 2**24),
  "data.num_workers": Range(0, 1024),
  "data.read_threads": Range(1, 1024),
  "data.loader_workers": Range(0, 1024),
  "objective.gold_mixing": _SHARES,
  "objective.label_smoothing": Range(0, 1, without=(1,)),
  "objective.glancing": _SHARES,
  "objective.glancing_ramp": Range(0, 10**9),
  "objective.full_depth": _SHARES,
  "objective.dropped": _SHARES,
  "objective.exit_threshold": Range(0, 100),
  "objective.upsampling": Range(1, 1024),
  "objective.layer_loss": Range(0, _LARGEST),
  "objective.transition_heads": Range(1, 1024),
  "objective.transition_window": Range(1, 2**20),
  "optimizer.learning_rate": Range(0, _LARGEST),
  "optimizer.warmup_steps": Range(0, 10**9),
  "optimizer.final_fraction": _SHARES,
  "optimizer.b1": Range(0, 1, without=(1,)),
  "optimizer.b2": Range(0, 1, without=(1,)),
  "optimizer.eps": Range(0, 1),
  "optimizer.weight_decay": Range(0, _LARGEST),
  "optimizer.clip_norm": Range(0, _LARGEST),
  "train.steps": _STEPS,
  "train.grad_accumulation_steps": Range(1, 2**24),
  "train.log_every": _STEPS,
  "train.eval_every": _STEPS,
  "train.eval_batches": _STEPS,
  "train.max_bad_steps": Range(0, 10**9),
  "train.patience": Range(0, 10**9),
  "evaluate.examples": Range(0, 10**9),
  "checkpoint.every": _STEPS,
  "checkpoint.every_seconds": Range(0, 10**9),
  "checkpoint.max_to_keep": _STEPS,
  "checkpoint.keep_every": Range(0, 10**9),
  "mesh.data": _AXES,
  "mesh.fsdp": _AXES,
  "mesh.tensor": _AXES,
  "mesh.slices": Range(1, 2**20),
  "compare.seeds": _SEEDS,
  "compare.resamples": Range(100, 10**7),  # fewer give no interval
  "compare.timed_calls": Range(1, 10**6),
}
