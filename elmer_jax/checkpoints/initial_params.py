# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of a new run, from the weights of another."""

import jax

from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.core.errors import UserError
from elmer_jax.model import elmer
from elmer_jax.model.config import ModelConfig
from elmer_jax.parallel import sharding


def load_initial_params(path: str, config: ModelConfig, fresh: dict) -> dict:
  """Returns the parameters of `path` for a new run, with the shardings of `fresh`.

  Each process reads only its own shards of a checkpoint. The soft-exit projection and
  the transitions may be missing at `path`; those of `fresh` are used then.

  Raises:
    UserError: the checkpoint's sizes are not those of `config`.
  """
  shardings = jax.tree.map(lambda leaf: leaf.sharding, fresh)

  def param_shardings(stored: ModelConfig) -> dict:
    _check_sizes(path, stored, config)
    shapes = jax.eval_shape(lambda: elmer.initialise(stored, 0))
    # A part that this run does not use is small: it can be replicated.
    replicated = sharding.replicated(shardings["tokens"].mesh)
    return {
      name: shardings.get(name) or jax.tree.map(lambda _: replicated, part)
      for name, part in shapes.items()
    }

  loaded = orbax_checkpoint.load(path, param_shardings)
  _check_sizes(path, loaded.config, config)
  params = {name: value for name, value in loaded.params.items() if name in fresh}
  used = {name: shardings[name] for name in params}
  return fresh | sharding.shard_host_arrays(params, used)


def _check_sizes(path: str, stored: ModelConfig, config: ModelConfig) -> None:
  differing = [
    f"model.{name} {value} there, {getattr(config, name)} here"
    for name, value in orbax_checkpoint.model_sizes(stored).items()
    if name not in orbax_checkpoint.NOT_SIZES and value != getattr(config, name)
  ]
  if differing:
    raise UserError(f"init_from={path} has other sizes: {'; '.join(differing)}")
