# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""XLA never has to replicate an activation because it doesn't know where it belongs.

It says so in its own log alone, so the steps are compiled in processes whose standard
error is read.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from elmer_jax import objectives

COMPLAINT = "Involuntary full rematerialization"
MESHES = [(1, 4, 2), (2, 2, 2), (1, 8, 1), (4, 1, 2)]
# Programs that are only compiled need no good machine code.
FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def case(objective: str, sizes: tuple[int, int, int], **changes) -> dict:
  names = ("mesh__data", "mesh__fsdp", "mesh__tensor")
  # Few layers, and a head in several chunks.
  small = {"model__encoder_layers": 1, "model__decoder_layers": 2}
  changes = {"data__batch_size": 16, "model__head_chunk": 32, **small, **changes}
  return {
    "objective__name": objective,
    **dict(zip(names, sizes, strict=True)),
  } | changes


def complaints(cases: list[dict], constrained: bool = True) -> list[str]:
  """Compiles all cases; returns those that XLA complains about."""
  here = Path(__file__).parents[1]
  flags = f"--xla_force_host_platform_device_count=8 {FLAGS}"
  settings = {"TF_CPP_MIN_LOG_LEVEL": "0", "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
  # A program from a cache would say nothing.
  settings["JAX_ENABLE_COMPILATION_CACHE"] = "false"
  run = subprocess.run(
    [sys.executable, here / "compile_step.py"]
    + [json.dumps([(changes, constrained) for changes in cases])],
    env=os.environ | settings,
    stderr=subprocess.PIPE,
    text=True,
  )
  assert run.returncode == 0, run.stderr[-3000:]
  parts = run.stderr.split("\ncase ")
  return [part for part in parts if COMPLAINT in part]


def test_nothing_is_replicated_by_surprise():
  assert complaints([case("soft_exit", (1, 4, 2))]) == []


@pytest.mark.slow
def test_without_constraints_it_would_be():
  [complaint] = complaints([case("soft_exit", (1, 4, 2))], constrained=False)
  assert "concatenate" in complaint


@pytest.mark.slow
@pytest.mark.parametrize("sizes", MESHES)
@pytest.mark.parametrize("objective", objectives.NAMES)
def test_no_mesh_replicates_by_surprise(objective, sizes):
  split = {"train__grad_accumulation_steps": 2, "model__remat": "layer"}
  cases = [case(objective, sizes), case(objective, sizes, **split)]
  assert complaints(cases) == []


@pytest.mark.slow
@pytest.mark.parametrize(
  "changes",
  [
    {"optimizer__name": "adafactor"},
    {"optimizer__name": "muon"},
    {"model__dtype": "bfloat16", "model__norm": "pre"},
    {"mesh__slices": 2},
  ],
)
def test_neither_do_other_settings(changes):
  assert complaints([case("lplm", sizes, **changes) for sizes in [(2, 2, 2)]]) == []
