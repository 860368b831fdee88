# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""One checkpoint of a run, by `--which`."""

from elmer_jax.checkpoints import orbax_checkpoint, steps
from elmer_jax.core.errors import UserError


def choose(path: str, which: str) -> str:
  """Returns the path of one checkpoint of a run, or `path` itself for "latest".

  Args:
    path: of a run or its folder of checkpoints.
    which: "latest", "best" (by validation loss) or a step.

  Raises:
    UserError: there is no such checkpoint.
  """
  if which == "latest":
    return path
  folder, found = orbax_checkpoint.list_steps(path)
  if which == "best":
    step = steps.best_step(folder)
    if step is None:
      raise UserError(
        f"--which=best: no checkpoint of {path} has a validation loss; train with "
        "checkpoint.keep_best=True"
      )
    return str(folder / str(step))
  if which not in map(str, found):
    raise UserError(
      f"--which={which} is neither latest nor best nor a step of {path}: "
      f"{', '.join(map(str, found))}"
    )
  return str(folder / which)
