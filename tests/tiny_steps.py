# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Some training steps on a mesh whose processes are not contiguous.

python tiny_steps.py [HOST:PORT,COUNT,INDEX] prints losses and gradient norms as JSON.
"""

import json
import sys

import jax
import numpy as np
import tiny

from elmer_jax import objectives
from elmer_jax.parallel import processes, sharding
from elmer_jax.parallel.mesh import make_mesh
from elmer_jax.training.optimizer import make_optimizer
from elmer_jax.training.step import make_program

LAYERS = {"model__encoder_layers": 1, "model__decoder_layers": 1}


def make_program_and_mesh():
  """Of 4 processes with 2 devices each, 0 and 1 hold shards 0 and 2, 2 and 3 the rest.

  So two processes read the same rows, and none of them contiguous ones.
  """
  config = tiny.configure(
    mesh__data=2,
    mesh__fsdp=2,
    mesh__tensor=2,
    data__batch_size=16,
    train__grad_accumulation_steps=2,
    objective__name="last_layer",
    **LAYERS,
  )
  every_second = np.array(jax.devices()).reshape(4, 2).T.flatten()
  mesh = make_mesh(config, list(every_second))
  model_config = tiny.model_config(**LAYERS)
  program = make_program(
    model_config, objectives.get(config), *make_optimizer(config), mesh, config
  )
  return program, mesh


def train(steps: int = 3) -> list[list[float]]:
  """Returns loss and gradient norm of each step [steps, 2]."""
  program, mesh = make_program_and_mesh()
  rows = sharding.rows_of_process(mesh, 16)
  with jax.set_mesh(mesh):
    state = program.init(0)
    results = []
    for step in range(steps):
      local = {name: ids[rows] for name, ids in tiny.batch(16, seed=step).items()}
      state, metrics = program.train_step(state, sharding.global_batch(mesh, local), 0)
      results.append([float(metrics["loss"]), float(metrics["gradient_norm"])])
  return results


if __name__ == "__main__":
  processes.start(*sys.argv[1:] or [""])
  rows = sharding.rows_of_process(make_program_and_mesh()[1], 16)
  print(json.dumps({"rows": rows.tolist(), "results": train()}))
