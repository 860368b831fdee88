# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Compiles a run's training step for a TPU pod, without one: does it fit?

    python -m elmer_jax.plan --config=configs/pretrain_base.py --topology=v4-128
    python -m elmer_jax.plan --config=… --sweep=v5e:4x4,v5e:8x8 --batch_per_chip=16
    python -m elmer_jax.plan --config=… --topology=local

The compiler is that of TPU VMs (libtpu, the extra `plan`), so memory and communication
are those of the pod; the time is a lower bound. A step takes one to some minutes of
CPU, and no data: the vocabulary has `data.vocabulary_size` ids. `local` shows how every
parameter is sharded over this machine's devices, and needs no libtpu.

Exit status 0: the step fits (with --sweep: at least one does). 1: it doesn't.
"""

import json
import sys

import ml_collections
from absl import flags

from elmer_jax.commands import runner
from elmer_jax.core.errors import UserError

_TOPOLOGY = flags.DEFINE_string(
  "topology", None, "v4:4x4x4, v4-128, v5e-256, v5p-128, …; or local, this machine."
)
_MESH = flags.DEFINE_string(
  "mesh", None, "DATA,FSDP,TENSOR; one may be -1. By default that of the configuration."
)
_SWEEP = flags.DEFINE_list(
  "sweep",
  None,
  "Several steps in one table: TOPOLOGY, TOPOLOGY/DATAxFSDPxTENSOR, or, with "
  "--topology, DATAxFSDPxTENSOR.",
)
_BATCH_PER_CHIP = flags.DEFINE_integer(
  "batch_per_chip", None, "Examples a step and chip, instead of data.batch_size.", 1
)
_FORMAT = flags.DEFINE_enum("format", "table", ["table", "json"], "Output format.")


def main(config: ml_collections.ConfigDict) -> None:
  import jax

  from elmer_jax.planning import candidates, parameter_table, table

  if _TOPOLOGY.value is None and not _SWEEP.value:
    raise UserError(
      "--topology is missing: v4:4x4x4, v4-128, v5e-256, …; or local, this machine"
    )
  if _TOPOLOGY.value == "local":
    parameters = parameter_table.make_table(*candidates.local_mesh(config, _MESH.value))
    if _FORMAT.value == "json":
      print(json.dumps(parameter_table.as_json(parameters)))
    else:
      print(parameter_table.format_table(parameters))
    return
  # The topology's devices are described by libtpu: JAX must not look for its own.
  jax.config.update("jax_platforms", "cpu")
  steps = []
  for candidate in candidates.parse_candidates(
    config, _TOPOLOGY.value, _MESH.value, _SWEEP.value or []
  ):
    steps.append(candidates.plan(config, candidate, _BATCH_PER_CHIP.value))
    if _SWEEP.value:
      print(f"{candidate.topology.name}: done", file=sys.stderr)
  if _FORMAT.value == "json":
    found = [table.as_json(step) for step in steps]
    print(json.dumps(found if _SWEEP.value else found[0]))
  else:
    print(table.format_sweep(steps) if _SWEEP.value else table.format_step(steps[0]))
  if not any(step.fits for step in steps):
    sys.exit(1)


if __name__ == "__main__":
  runner.run_without_folder(main)
