# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Errors of steps that need more memory than a device has, as one helpful line."""

import contextlib
import re
from collections.abc import Iterator

import jax
import ml_collections

from elmer_jax.core.errors import UserError
from elmer_jax.parallel.mesh import make_mesh

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = r"([\d.]+)\s*([KMGT]?)i?B?"
# Messages of the TPU compiler, the TPU allocator, and the GPU and CPU allocators.
_NEEDED_AND_LIMIT = (
  rf"Used {_SIZE} of {_SIZE} hbm",
  rf"required .*?\({_SIZE}\) exceeds available .*?\({_SIZE}\)",
)
_NEEDED_ONLY = (
  rf"(?:trying to allocate|Attempting to (?:allocate|reserve)) {_SIZE}",
  rf"allocating {_SIZE}",
)


def is_out_of_memory(error: BaseException) -> bool:
  """Returns whether an error means that a device's memory was too small."""
  return isinstance(error, jax.errors.JaxRuntimeError) and (
    "RESOURCE_EXHAUSTED" in str(error)
  )


@contextlib.contextmanager
def explain_out_of_memory(config: ml_collections.ConfigDict) -> Iterator[None]:
  """Turns an out-of-memory error within the block into a `UserError`."""
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if not is_out_of_memory(error):
      raise
    raise to_user_error(error, config, make_mesh(config)) from None


def to_user_error(
  error: BaseException, config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh
) -> UserError:
  """Returns an error of one line: how much memory is missing, and what may help."""
  needed, limit = parse_sizes(str(error))
  if limit:
    problem = (
      f"it needs {_gib(needed)} per device, which has {_gib(limit)}: "
      f"{_gib(needed - limit)} too much"
    )
  elif needed:
    problem = f"a device's memory is full, and {_gib(needed)} more are needed"
  else:
    problem = "a device's memory is full"
  return UserError(
    f"the step does not fit: {problem}. What may help: "
    f"{'; '.join(suggestions(config, mesh))}"
  )


def parse_sizes(message: str) -> tuple[int, int]:
  """Returns the bytes (needed, limit) in an error message; 0 where it has none."""
  for pattern in _NEEDED_AND_LIMIT:
    match = re.search(pattern, message, re.DOTALL)
    if match:
      return _bytes(*match.groups()[:2]), _bytes(*match.groups()[2:])
  for pattern in _NEEDED_ONLY:
    match = re.search(pattern, message)
    if match:
      return _bytes(*match.groups()), 0
  return 0, 0


def suggestions(
  config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh
) -> list[str]:
  """Returns changes that need less memory per device, the cheapest first."""
  found = []
  rows = config.data.batch_size // config.train.grad_accumulation_steps
  shards = mesh.shape["data"] * mesh.shape["fsdp"]
  if config.model.remat != "layer":
    found.append("--config.model.remat=layer (recompute each layer)")
  if config.model.dtype == "float32":
    found.append("--config.model.dtype=bfloat16")
  if rows // shards > 1:
    steps = config.train.grad_accumulation_steps * 2
    found.append(
      f"--config.train.grad_accumulation_steps={steps} (smaller micro-batches)"
    )
  if mesh.shape["data"] > 1:
    found.append(
      f"--config.mesh.fsdp={mesh.shape['fsdp'] * 2} or more (parameters and optimizer "
      "state sharded over devices)"
    )
  return [*found, "more devices or a smaller model"]


def _gib(size: float) -> str:
  return f"{size / 2**30:.2f} GiB"


def _bytes(number: str, unit: str) -> int:
  return int(float(number) * _UNITS[unit])
