# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Memory that the chunked head saves in a training step.

    python benchmarks/head_memory.py [--batch_size=64 --length=512]
    python benchmarks/head_memory.py --topology=v5e:2x2

Compiles, without running, three training steps of configs/pretrain_base.py that differ
in the head: chunked; with the full logits of the exit states (one layer's worth); and
with the full logits of all decoder layers, from which each token's exit layer is
picked, as the published code does. Their losses and gradients are equal
(tests/objectives/test_head_memory.py).

Prints the compiler's figure, bytes of temporaries per device, for one CPU device, or
with --topology for a TPU chip (the batch is then per chip). The CPU's compiler is set
to schedule for memory; by default it schedules for concurrency. A step that does not
fit on a chip is reported and has no ratio. The last line is JSON.
"""

import json
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
from absl import app, flags

from elmer_jax import configuration
from elmer_jax.model import layers
from elmer_jax.objectives import lplm, objective
from elmer_jax.objectives.linear_cross_entropy import HeadOutput, full_logits
from elmer_jax.objectives.objective import Sums
from elmer_jax.parallel.mesh import make_mesh
from elmer_jax.planning import compile_step, topologies
from elmer_jax.training.optimizer import make_optimizer
from elmer_jax.training.step import make_program

_BATCH = flags.DEFINE_integer("batch_size", 64, "Rows per device.", 1)
_LENGTH = flags.DEFINE_integer("length", 512, "Positions, source and target.", 4)
_TOPOLOGY = flags.DEFINE_string("topology", None, "Of TPUs; by default one CPU.")
_CONCURRENT = "xla_cpu_enable_concurrency_optimized_scheduler"
_CONFIG = Path(__file__).parent.parent / "configs" / "pretrain_base.py"


def main(argv: list[str]) -> None:
  del argv
  jax.config.update("jax_platforms", "cpu")
  config = runpy.run_path(str(_CONFIG))["get_config"]()
  configuration.check(config)
  if _TOPOLOGY.value:
    devices = topologies.devices(topologies.parse(_TOPOLOGY.value))
  else:
    devices = jax.devices()[:1]
  config.data.batch_size = _BATCH.value * len(devices)
  config.data.update({"source_length": _LENGTH.value, "target_length": _LENGTH.value})
  config.train.grad_accumulation_steps = 1
  mesh = make_mesh(config, devices)
  found = {}
  for name, loss in LOSSES.items():
    try:
      found[name] = temporary_bytes(config, mesh, loss)
    except compile_step.DoesNotFit as error:
      print(f"{name:12} {error}", flush=True)
      continue
    print(f"{name:12} {found[name] / 2**30:8.2f} GiB", flush=True)
  ratios = {
    f"chunked/{name}": round(found["chunked"] / found[name], 3)
    for name in found
    if name != "chunked"
  }
  shapes = {"batch_size": _BATCH.value, "length": _LENGTH.value}
  where = {"topology": _TOPOLOGY.value or "cpu", "jax": jax.__version__}
  print(json.dumps(where | shapes | {"temporary_bytes": found} | ratios))


def temporary_bytes(config, mesh, loss) -> int:
  """Compiles the training step with a loss; returns the temporary bytes per device."""
  sizes = configuration.model_config(config, config.data.vocabulary_size)
  objective_ = objective.without_layer_metrics(loss)
  program = make_program(sizes, objective_, *make_optimizer(config), mesh, config)
  is_cpu = mesh.devices.flat[0].platform == "cpu"
  options = {_CONCURRENT: False} if is_cpu else None
  step = compile_step.compile_step(program, config, mesh, options).step
  return step.memory_analysis().temp_size_in_bytes


def one_layer(model, batch: dict, keys_B: jax.Array, step, train: bool) -> Sums:
  """LPLM with the full logits [B, T, V] of the exit states."""
  del step
  targets_BxT = batch["target_ids"]
  exit_layers_BxT = _exit_layers(model, targets_BxT, keys_B)
  encoded = objective.encode(model, batch, keys_B, train)
  exit_BxTxD = lplm.decode_with_copies(
    model,
    encoded.states_BxSxD,
    encoded.mask_BxS,
    model.blank_target(*targets_BxT.shape),
    exit_layers_BxT,
    keys_B=encoded.keys_B,
  )
  states_BxTxD = model.decoder.off_ramp(exit_BxTxD)
  return _sums(full_logits(states_BxTxD, model.head()), targets_BxT)


def all_layers(model, batch: dict, keys_B: jax.Array, step, train: bool) -> Sums:
  """LPLM with the full logits [L, B, T, V] of every layer, then one of L picked."""
  del step
  targets_BxT = batch["target_ids"]
  exit_layers_BxT = _exit_layers(model, targets_BxT, keys_B)
  encoded = objective.encode(model, batch, keys_B, train)
  copy = lplm.copy_exited(exit_layers_BxT)

  def read(index, hidden_BxTxD, carry):
    states_BxTxD = model.decoder.off_ramp(hidden_BxTxD)
    hidden_BxTxD, carry, _ = copy(index, hidden_BxTxD, carry)
    return hidden_BxTxD, carry, states_BxTxD

  _, _, states_LxBxTxD = model.decode(
    model.blank_target(*targets_BxT.shape),
    encoded.states_BxSxD,
    encoded.mask_BxS,
    keys_B=encoded.keys_B,
    after_layer=read,
    carry=jnp.zeros((*targets_BxT.shape, model.config.d_model), model.config.dtype),
  )
  logits_LxBxTxV = full_logits(states_LxBxTxD, model.head())
  logits_BxTxV = jnp.take_along_axis(
    logits_LxBxTxV, exit_layers_BxT[None, ..., None], axis=0
  )[0]
  return _sums(logits_BxTxV, targets_BxT)


def _exit_layers(model, targets_BxT: jax.Array, keys_B: jax.Array) -> jax.Array:
  keys_B = layers.fold_in(keys_B, objective.EXIT_LAYERS)
  count = model.config.decoder_layers
  return lplm.draw_exit_layers(keys_B, targets_BxT.shape[1], count)


def _sums(logits_BxTxV: jax.Array, targets_BxT: jax.Array) -> Sums:
  log_sum_BxT = jax.nn.logsumexp(logits_BxTxV, axis=-1)
  own_BxT = jnp.take_along_axis(logits_BxTxV, targets_BxT[..., None], axis=-1)[..., 0]
  prediction_BxT = logits_BxTxV.argmax(-1)
  output = HeadOutput(
    nll=log_sum_BxT - own_BxT,
    prediction=prediction_BxT,
    log_probability=log_sum_BxT,
    entropy=log_sum_BxT,
    is_correct=prediction_BxT == targets_BxT,
  )
  return objective.token_sums(output, targets_BxT)


LOSSES = {"chunked": lplm.loss, "one_layer": one_layer, "all_layers": all_layers}

if __name__ == "__main__":
  app.run(main)
