# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Compiles a run's training step for a TPU pod that is not at hand: does it fit?

    python -m elmer_jax.plan --config=configs/pretrain_base.py --topology=v4-128
    python -m elmer_jax.plan --config=… --sweep=v5e:4x4,v5e:8x8 --batch_per_chip=16
    python -m elmer_jax.plan --config=… --topology=local

The compiler is the pod's own (libtpu, the extra `plan`), so what it says of memory and
of what the chips send each other holds there; how fast a step runs it does not say. It
takes one to some minutes of CPU a step, and no data: the vocabulary has
`data.vocabulary_size` ids. `local` tells where every parameter lies on this machine's
devices, and needs no libtpu.

Status 0: the step fits (of a sweep: one of them). 1: it does not.
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
  "mesh", None, "DATA,FSDP,TENSOR; one may be -1. By default as the configuration says."
)
_SWEEP = flags.DEFINE_list(
  "sweep",
  None,
  "Several steps, one table: TOPOLOGY, TOPOLOGY/DATAxFSDPxTENSOR, or, of the one "
  "--topology, DATAxFSDPxTENSOR.",
)
_BATCH_PER_CHIP = flags.DEFINE_integer(
  "batch_per_chip", None, "Examples an update and chip, in place of data.batch_size."
)
_FORMAT = flags.DEFINE_enum("format", "table", ["table", "json"], "Of what is printed.")


def main(config: ml_collections.ConfigDict) -> None:
  import jax

  from elmer_jax.planning import parameter_table, table, trials

  if _TOPOLOGY.value is None and not _SWEEP.value:
    raise UserError(
      "--topology is missing: v4:4x4x4, v4-128, v5e-256, …; or local, this machine"
    )
  if _TOPOLOGY.value == "local":
    found = parameter_table.lay_out(*trials.here(config, _MESH.value))
    as_json = _FORMAT.value == "json"
    print(
      json.dumps(parameter_table.as_json(found))
      if as_json
      else parameter_table.page(found)
    )
    return
  # The devices are libtpu's; JAX itself needs none but a place to start from.
  jax.config.update("jax_platforms", "cpu")
  wanted = trials.parse(config, _TOPOLOGY.value, _MESH.value, _SWEEP.value or [])
  rows = []
  for trial in wanted:
    rows.append(trials.run(config, trial, _BATCH_PER_CHIP.value))
    if len(wanted) > 1:
      print(f"{trial.topology.name}: done", file=sys.stderr)
  if _FORMAT.value == "json":
    found = [table.as_json(row) for row in rows]
    print(json.dumps(found if _SWEEP.value else found[0]))
  else:
    print(table.sweep(rows) if _SWEEP.value else table.page(rows[0]))
  if not any(row.fits for row in rows):
    sys.exit(1)


if __name__ == "__main__":
  runner.run_without_folder(main)
