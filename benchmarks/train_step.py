# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Speed of a training step: ours against Hugging Face BART's, on one device.

    bash launch/install.sh benchmarks
    .venv/bin/python benchmarks/train_step.py [--dropout=0.1,0] [--batch_size=8]

Base size, random weights, ids without padding, and the whole step on both sides:
forward, backward, clipping by global norm, AdamW. Ours is the step of `elmer_jax.train`
with the objective LPLM; theirs trains next tokens under a causal mask (teacher
forcing). The matrix products are the same. On a CPU both compute in float32, theirs
eagerly; on a GPU in bfloat16 with float32 weights, theirs with torch.compile. Without
PyTorch only ours is timed; TensorFlow is not needed.

The programs take turns in one process, so that noise of the machine affects both; rates
are those of the median turn. FLOPs are the model's, forward and backward, without
recomputation. On a known accelerator their rate is divided by the peak (MFU), on a CPU
by the median rate of a 4096×4096 float32 matrix product in JAX, timed once per round.
Peak memory includes weights, optimizer state and temporaries: on a CPU ours from the
compiler, theirs as the growth of the process during a step; on a GPU the peak since the
program's start. The last line is JSON.
"""

import functools
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Two libraries share the device: JAX must not preallocate its memory.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from elmer_jax import configuration
from elmer_jax.model import flops
from elmer_jax.model.config import ModelConfig
from elmer_jax.objectives import lplm
from elmer_jax.parallel import chips, mesh, sharding
from elmer_jax.tokenizer.special_ids import BOS_ID, EOS_ID
from elmer_jax.training import optimizer, step

try:
  import bart_step
except ModuleNotFoundError:
  bart_step = None

_DROPOUT = flags.DEFINE_list("dropout", ["0.1", "0"], "Rates, on both sides.")
_BATCH = flags.DEFINE_integer("batch_size", None, "Default: 8 on a CPU, else 64.")
_LENGTH = flags.DEFINE_integer(
  "length", None, "Tokens per source and per target; 128 on a CPU, else 512."
)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed turns per program.", 1)
_STEPS = flags.DEFINE_integer("steps", None, "Per turn; 1 on a CPU, else 10.")
_THREADS = flags.DEFINE_integer("threads", 2, "PyTorch's; JAX uses all cores.", 1)

PRODUCT = 4096  # size of the matrix product that measures a CPU's peak
LEARNING_RATE, CLIP_NORM = 1e-4, 1.0


def main(argv: list[str]) -> None:
  del argv
  on_cpu = jax.default_backend() == "cpu"
  batch, length, steps = (
    (flag.value or default)
    for flag, default in (
      (_BATCH, 8 if on_cpu else 64),
      (_LENGTH, 128 if on_cpu else 512),
      (_STEPS, 1 if on_cpu else 10),
    )
  )
  shapes = {"batch": batch, "source": length, "target": length, "steps": steps}
  rows = []
  for dropout in map(float, _DROPOUT.value):
    rows.append(_measure(dropout, batch, length, steps))
    print(json.dumps(rows[-1]), flush=True)
  versions = {"jax": jax.__version__} | (bart_step.versions() if bart_step else {})
  device = jax.devices()[0].device_kind
  print(
    json.dumps({"versions": versions, "device": device, "shapes": shapes, "rows": rows})
  )


def _measure(dropout: float, batch: int, length: int, steps: int) -> dict:
  model = ModelConfig(dropout=dropout, dtype="bfloat16")
  if jax.default_backend() == "cpu":
    # Full logits fit for this few tokens, as in theirs.
    whole = model.padded_vocabulary_size
    model = ModelConfig(dropout=dropout, dtype="float32", head_chunk=whole)
  ids_BxT = _ids(batch, length)
  programs = {"ours": Ours(model, ids_BxT)}
  if bart_step and bart_step.on_gpu() == (jax.default_backend() == "gpu"):
    programs["hf"] = bart_step.Step(
      _bart_sizes(model),
      *(ids_BxT.astype(np.int64),) * 2,
      LEARNING_RATE,
      CLIP_NORM,
      _THREADS.value,
    )
  losses = {name: [_turn(program, 1)[1]] for name, program in programs.items()}
  peaks = {name: _peak(program) for name, program in programs.items()}
  seconds: dict[str, list[float]] = {name: [] for name in programs}
  products = []
  for _ in range(_ROUNDS.value):
    for name, program in programs.items():
      spent, loss = _turn(program, steps)
      seconds[name].append(spent / steps)
      losses[name].append(loss)
    if jax.default_backend() == "cpu":
      products.append(_product_rate())
  medians = {name: statistics.median(times) for name, times in seconds.items()}
  work = batch * flops.of_example(model, "lplm", length, length).training
  rates = {name: work / median for name, median in medians.items()}
  chip = chips.of_kind(jax.devices()[0].device_kind)
  limit = statistics.median(products) if products else chip and chip.peak_flops
  result = {
    "dropout": dropout,
    "tokens_per_second": {
      name: round(2 * batch * length / median) for name, median in medians.items()
    },
    "seconds": {name: [round(t, 4) for t in ts] for name, ts in seconds.items()},
    "gflops_a_second": {name: round(rate / 1e9, 1) for name, rate in rates.items()},
    "peak_gib": {name: round(peak / 2**30, 2) for name, peak in peaks.items()},
    "loss": {name: [round(v, 3) for v in ends] for name, ends in losses.items()},
  }
  if limit:
    key = "share_of_product" if products else "mfu"
    result[key] = {name: round(rate / limit, 3) for name, rate in rates.items()}
    result["limit_gflops_a_second"] = round(limit / 1e9, 1)
  if "hf" in programs:
    result["ratio"] = round(medians["hf"] / medians["ours"], 3)
  return result


class Ours:
  """The step of `elmer_jax.train`, with LPLM, AdamW and clipping, on one device."""

  def __init__(self, model: ModelConfig, ids_BxT: np.ndarray):
    config = configuration.default()
    config.optimizer.update({"name": "adamw", "schedule": "constant"})
    config.optimizer.update({"learning_rate": LEARNING_RATE, "warmup_steps": 0})
    config.optimizer.update({"b2": 0.999, "weight_decay": 0.0, "clip_norm": CLIP_NORM})
    self.mesh = mesh.make_mesh(config, jax.devices()[:1])
    with jax.set_mesh(self.mesh):
      program = step.make_program(
        model, lplm.make(), *optimizer.make_optimizer(config), self.mesh, config
      )
      rows = {"source_ids": ids_BxT, "target_ids": ids_BxT}
      self.batch = sharding.global_batch(self.mesh, rows)
      self.state = program.init(0)
      self.compiled = program.train_step.lower(self.state, self.batch, 0).compile()
    self.metrics = None

  def __call__(self) -> None:
    """Dispatches one step without waiting for it."""
    with jax.set_mesh(self.mesh):
      self.state, self.metrics = self.compiled(self.state, self.batch, 0)

  def wait(self) -> float:
    """Waits for all steps and returns the last loss, nats per target token."""
    jax.block_until_ready(self.state)
    return float(self.metrics["loss"])


def _turn(program: Callable, steps: int) -> tuple[float, float]:
  """Returns the seconds that `steps` steps take, and the last loss."""
  start = time.perf_counter()
  for _ in range(steps):
    program()
  loss = program.wait()
  return time.perf_counter() - start, loss


def _peak(program) -> int:
  """Makes a step; returns the bytes of weights, optimizer state and temporaries."""
  before = _resident("VmRSS", reset=True)
  _turn(program, 1)
  if isinstance(program, Ours):
    on_device = jax.devices()[0].memory_stats()
    if on_device:
      return on_device["peak_bytes_in_use"]
    sizes = program.compiled.memory_analysis()
    return sizes.argument_size_in_bytes + sizes.temp_size_in_bytes
  if bart_step.on_gpu():
    return program.peak_on_gpu()
  return program.state_bytes() + _resident("VmHWM") - before


def _resident(field: str, reset: bool = False) -> int:
  """Returns a memory figure of this process from /proc, in bytes."""
  if reset:
    Path("/proc/self/clear_refs").write_text("5")
  lines = Path("/proc/self/status").read_text().splitlines()
  return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


@functools.cache
def _product() -> tuple[Callable, jax.Array]:
  x = jax.random.normal(jax.random.key(0), (PRODUCT, PRODUCT), jnp.float32)
  return jax.jit(lambda x: x @ x).lower(x).compile(), x


def _product_rate() -> float:
  """Returns the FLOPs per second of a large matrix product."""
  product, x = _product()
  jax.block_until_ready(product(x))
  start = time.perf_counter()
  jax.block_until_ready(product(x))
  return 2 * PRODUCT**3 / (time.perf_counter() - start)


def _ids(batch: int, length: int) -> np.ndarray:
  ids_BxT = np.random.default_rng(0).integers(4, 50000, (batch, length), np.int32)
  ids_BxT[:, 0], ids_BxT[:, -1] = BOS_ID, EOS_ID
  return ids_BxT


def _bart_sizes(model: ModelConfig) -> dict:
  """Returns the keyword arguments of a `BartConfig` of the same sizes."""
  sizes = {"d_model": model.d_model, "dropout": model.dropout}
  for side in ("encoder", "decoder"):
    sizes[f"{side}_layers"] = getattr(model, f"{side}_layers")
    sizes[f"{side}_attention_heads"] = getattr(model, f"{side}_heads")
    sizes[f"{side}_ffn_dim"] = getattr(model, f"{side}_feed_forward")
  return sizes


if __name__ == "__main__":
  app.run(main)
