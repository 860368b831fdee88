# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Compiles training steps for meshes; XLA's warnings go to standard error.

python compile_step.py CASES: a JSON list of [changes of the tiny configuration, whether
the model constrains the shardings of its activations].
"""

import contextlib
import json
import sys

import jax
import tiny

from elmer_jax import objectives
from elmer_jax.model import sharding_constraints
from elmer_jax.parallel import sharding
from elmer_jax.parallel.mesh import make_mesh
from elmer_jax.training.optimizer import make_optimizer
from elmer_jax.training.step import make_program


def compile_step(changes: dict) -> None:
  config = tiny.configure(**changes)
  mesh = make_mesh(config)
  program = make_program(
    tiny.model_config(**changes),
    objectives.get(config),
    *make_optimizer(config),
    mesh,
    config,
  )

  def abstract(leaf, place):
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)

  state = jax.tree.map(abstract, program.shapes, program.shardings)
  batch = {
    name: abstract(rows, sharding.batch_sharding(mesh))
    for name, rows in tiny.batch(config.data.batch_size).items()
  }
  with jax.set_mesh(mesh):
    program.train_step.lower(state, batch, 0).compile()


class NoConstraints:
  """Replaces `sharding_constraints.current`: all shardings are left to XLA."""

  value = None

  def __call__(self, rules) -> contextlib.AbstractContextManager:
    return contextlib.nullcontext()


if __name__ == "__main__":
  for changes, constrained in json.loads(sys.argv[1]):
    print("case", json.dumps(changes), file=sys.stderr, flush=True)
    current = sharding_constraints.current
    if not constrained:
      sharding_constraints.current = NoConstraints()
    compile_step(changes)
    sharding_constraints.current = current
