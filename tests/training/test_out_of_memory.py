# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Out of memory: one line with the sizes and what may help."""

import jax
import jax.numpy as jnp
import pytest
import tiny

from elmer_jax.core.errors import UserError
from elmer_jax.parallel.mesh import make_mesh
from elmer_jax.training import out_of_memory

G = 2**30


@pytest.mark.parametrize(
  ("message", "expected"),
  [
    (
      "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
      "temporaries (64.5G) exceeds available HBM (15.75G).",
      (64.5 * G, 15.75 * G),
    ),
    (
      "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 26.5G of 15.75G "
      "hbm. Exceeded hbm capacity by 10.75G.",
      (26.5 * G, 15.75 * G),
    ),
    ("Out of memory while trying to allocate 2.5GiB.", (2.5 * G, 0)),
    ("Out of memory while trying to allocate 1024 bytes.", (1024, 0)),
    ("Out of memory allocating 4096 bytes.", (4096, 0)),
    ("something else", (0, 0)),
  ],
)
def test_sizes_in_messages_of_compilers_and_allocators(message, expected):
  assert out_of_memory.parse_sizes(message) == expected


def test_a_full_device_is_explained_in_one_line():
  config = tiny.configure(data__batch_size=16)
  with (
    pytest.raises(UserError, match="does not fit: .* more are needed") as caught,
    out_of_memory.explain_out_of_memory(config),
  ):
    jax.block_until_ready(jax.jit(lambda: jnp.zeros(2**50, jnp.int8))())
  line = str(caught.value)
  assert f"{2**20:.2f} GiB" in line and "\n" not in line
  for key in (
    "model.remat=",
    "model.dtype=",
    "train.grad_accumulation_steps=2",
    "mesh.fsdp=2",
  ):
    assert f"--config.{key}" in line


def test_other_errors_are_not_changed():
  with (
    pytest.raises(ZeroDivisionError),
    out_of_memory.explain_out_of_memory(tiny.configure()),
  ):
    raise ZeroDivisionError


def test_suggestions_leave_out_what_is_set_already():
  config = tiny.configure(
    model__remat="layer", model__dtype="bfloat16", mesh__fsdp=8, data__batch_size=8
  )
  mesh = make_mesh(config, jax.devices()[:8])
  assert out_of_memory.suggestions(config, mesh) == ["more devices or a smaller model"]
