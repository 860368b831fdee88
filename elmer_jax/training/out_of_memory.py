# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What to say of a step that needs more memory than a device has."""

import contextlib
import re
from collections.abc import Iterator

import jax
import ml_collections

from elmer_jax.core.errors import UserError
from elmer_jax.parallel.mesh import make_mesh

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = r"([\d.]+)\s*([KMGT]?)i?B?"
# As the compiler for TPUs, its allocator, and the allocator of GPUs and CPUs say it.
_NEEDED_OF_LIMIT = (
  rf"Used {_SIZE} of {_SIZE} hbm",
  rf"required .*?\({_SIZE}\) exceeds available .*?\({_SIZE}\)",
)
_REFUSED = (
  rf"(?:trying to allocate|Attempting to (?:allocate|reserve)) {_SIZE}",
  rf"allocating {_SIZE}",
)


def is_exhausted(error: BaseException) -> bool:
  """Tells whether a device's memory was too small."""
  return isinstance(error, jax.errors.JaxRuntimeError) and (
    "RESOURCE_EXHAUSTED" in str(error)
  )


@contextlib.contextmanager
def explained(config: ml_collections.ConfigDict) -> Iterator[None]:
  """Turns a device's want of memory, within a run, into a `UserError`."""
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if not is_exhausted(error):
      raise
    raise does_not_fit(error, config, make_mesh(config)) from None


def does_not_fit(
  error: BaseException, config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh
) -> UserError:
  """Returns one line: by how much a step is too large, and what would help."""
  needed, limit = excess(str(error))
  if limit:
    found = (
      f"it needs {_gib(needed)} a device, which has {format_gib(limit)}: "
      f"{_gib(needed - limit)} too much"
    )
  elif needed:
    found = f"a device's memory is full, and {_gib(needed)} more are needed"
  else:
    found = "a device's memory is full"
  return UserError(
    f"the step does not fit: {found}. What would help: "
    f"{'; '.join(remedies(config, mesh))}"
  )


def excess(words: str) -> tuple[int, int]:
  """Returns the bytes (needed, limit) that an error tells; 0 for what it does not."""
  for pattern in _NEEDED_OF_LIMIT:
    match = re.search(pattern, words, re.DOTALL)
    if match:
      return _bytes(*match.groups()[:2]), _bytes(*match.groups()[2:])
  for pattern in _REFUSED:
    match = re.search(pattern, words)
    if match:
      return _bytes(*match.groups()), 0
  return 0, 0


def remedies(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> list[str]:
  """Returns what makes this configuration's step smaller, the cheapest first."""
  found = []
  rows = config.data.batch_size // config.train.accumulation
  parts = mesh.shape["data"] * mesh.shape["fsdp"]
  if config.model.remat != "layer":
    found.append("--config.model.remat=layer (recompute each layer)")
  if config.model.dtype == "float32":
    found.append("--config.model.dtype=bfloat16")
  if rows // parts > 1:
    accumulation = config.train.accumulation * 2
    found.append(f"--config.train.accumulation={accumulation} (smaller micro-batches)")
  if mesh.shape["data"] > 1:
    found.append(
      f"--config.mesh.fsdp={mesh.shape['fsdp'] * 2} or more (parameters and optimizer "
      "state spread over devices)"
    )
  return [*found, "more devices or a smaller model"]


def _gib(size: float) -> str:
  """Returns `12.3 GiB`."""
  return f"{size / 2**30:.2f} GiB"


def _bytes(number: str, unit: str) -> int:
  return int(float(number) * _UNITS[unit])
