# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Peak figures of known accelerators, as their makers publish them.

TPUs: Google Cloud's pages "TPU v4", "v5e", "v5p" and "v6e" (docs.cloud.google.com/tpu);
the links of v4 from Jouppi et al., 2023 (arXiv 2304.01433). GPUs: NVIDIA's data sheets;
matrix products without sparsity (newer sheets print twice as much, with sparsity).
"""

from pathlib import Path
from typing import NamedTuple

import jax
from absl import logging


class Chip(NamedTuple):
  """Peak figures of one chip, which is one device of JAX."""

  name: str
  peak_flops: float  # dense bfloat16 operations a second
  memory: int  # bytes
  memory_bandwidth: float  # bytes a second
  # Bytes a second that the chip sends over all of its links together: ICI, NVLink, or
  # PCIe where it has neither.
  link_bandwidth: float


_GIB, _GB = 2**30, 10**9

V4 = Chip("TPU v4", 275e12, 32 * _GIB, 1200e9, 300e9)
V5E = Chip("TPU v5e", 197e12, 16 * _GIB, 819e9, 200e9)
V5P = Chip("TPU v5p", 459e12, 95 * _GIB, 2765e9, 600e9)
V6E = Chip("TPU v6e", 918e12, 32 * _GIB, 1638e9, 400e9)
A100_40 = Chip("NVIDIA A100 40GB", 312e12, 40 * _GB, 1555e9, 300e9)
A100_80 = Chip("NVIDIA A100 80GB", 312e12, 80 * _GB, 2039e9, 300e9)
H100_PCIE = Chip("NVIDIA H100 PCIe", 756e12, 80 * _GB, 2000e9, 300e9)
H100 = Chip("NVIDIA H100", 989e12, 80 * _GB, 3350e9, 450e9)
H200 = Chip("NVIDIA H200", 989e12, 141 * _GB, 4800e9, 450e9)
L4 = Chip("NVIDIA L4", 121e12, 24 * _GB, 300e9, 32e9)

# Prefixes of `device_kind`; the first that matches counts.
_KINDS = (
  ("TPU v4 lite", None),  # an inference chip
  ("TPU v4", V4),
  ("TPU v5 lite", V5E),
  ("TPU v5e", V5E),
  ("TPU v5", V5P),
  ("TPU v6", V6E),
  ("NVIDIA A100-SXM4-80GB", A100_80),
  ("NVIDIA A100 80GB", A100_80),
  ("NVIDIA A100", A100_40),
  ("NVIDIA H100 PCIe", H100_PCIE),
  ("NVIDIA H100 80GB HBM3", H100),
  ("NVIDIA H200", H200),
  ("NVIDIA L40", None),
  ("NVIDIA L4", L4),
)


def of_kind(device_kind: str) -> Chip | None:
  """Returns the chip with this `device_kind`, None if it is unknown."""
  for prefix, chip in _KINDS:
    if device_kind.startswith(prefix):
      return chip
  return None


def warn_of_unused_gpu() -> None:
  """Warns if JAX computes on the CPU because its CUDA build is not installed."""
  is_chosen = bool(jax.config.jax_platforms)
  if not is_chosen and jax.default_backend() == "cpu" and Path("/dev/nvidia0").exists():
    logging.warning(
      "this machine's NVIDIA GPU is not used, as JAX is installed without CUDA: bash "
      "launch/install.sh cuda, or pip install 'jax[cuda12]'"
    )
