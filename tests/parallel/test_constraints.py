# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""XLA never replicates an activation because a sharding constraint is missing.

It only warns in its log, so the steps are compiled in a process whose standard error is
read.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from elmer_jax import objectives

WARNING = "Involuntary full rematerialization"
MESHES = [(1, 4, 2), (2, 2, 2), (1, 8, 1), (4, 1, 2)]
# Programs that are only compiled need no optimized machine code.
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


def warnings(cases: list[dict], constrained: bool = True) -> list[str]:
  """Compiles all cases; returns XLA's output on those that it warns about."""
  here = Path(__file__).parents[1]
  flags = f"--xla_force_host_platform_device_count=8 {FLAGS}"
  settings = {"TF_CPP_MIN_LOG_LEVEL": "0", "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
  # A cached program causes no warning.
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
  return [part for part in parts if WARNING in part]


def test_no_activation_is_replicated():
  assert warnings([case("soft_exit", (1, 4, 2))]) == []


@pytest.mark.slow
def test_without_constraints_activations_are_replicated():
  [warning] = warnings([case("soft_exit", (1, 4, 2))], constrained=False)
  assert "concatenate" in warning


@pytest.mark.slow
@pytest.mark.parametrize("sizes", MESHES)
@pytest.mark.parametrize("objective", objectives.NAMES)
def test_no_activation_is_replicated_on_any_mesh(objective, sizes):
  split = {"train__grad_accumulation_steps": 2, "model__remat": "layer"}
  cases = [case(objective, sizes), case(objective, sizes, **split)]
  assert warnings(cases) == []


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
def test_no_activation_is_replicated_with_other_settings(changes):
  assert warnings([case("lplm", sizes, **changes) for sizes in [(2, 2, 2)]]) == []
