# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Meshes and shardings; sizes that don't fit are one-line errors."""

import math
import types

import jax
import pytest
import tiny

from elmer_jax import objectives
from elmer_jax.core.errors import UserError
from elmer_jax.parallel import sharding
from elmer_jax.parallel.mesh import make_mesh
from elmer_jax.training.optimizer import NAMES, make_optimizer
from elmer_jax.training.step import make_program

CUBE = {"mesh__data": 2, "mesh__fsdp": 2, "mesh__tensor": 2}
# Wide enough for Adafactor to factor its moments.
EIGHT_HEADS = {"model__encoder_heads": 8, "model__decoder_heads": 8}
WIDE = {"model__d_model": 256, **EIGHT_HEADS}
WIDE |= {"model__encoder_feed_forward": 512, "model__decoder_feed_forward": 512}


def build(vocabulary_size: int = 90, **changes):
  """Nothing is computed or compiled by this."""
  config = tiny.configure(**changes)
  sizes = tiny.model_config(vocabulary_size, **changes)
  return make_program(
    sizes,
    objectives.get(config),
    *make_optimizer(config),
    make_mesh(config),
    config,
  )


def replicated_share(shapes, shardings) -> float:
  """Returns the share of a tree's bytes that every device has in full."""
  pairs = list(zip(jax.tree.leaves(shapes), jax.tree.leaves(shardings), strict=True))
  size = {id(leaf): math.prod(leaf.shape) * leaf.dtype.itemsize for leaf, _ in pairs}
  replicated = sum(size[id(leaf)] for leaf, place in pairs if place.is_fully_replicated)
  return replicated / sum(size.values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", [(1, 8, 1), (1, 4, 2), (2, 2, 2)])
def test_at_most_two_percent_are_replicated(name, sizes):
  axes = ("mesh__data", "mesh__fsdp", "mesh__tensor")
  sizes = dict(zip(axes, sizes, strict=True))
  program = build(50_000, optimizer__name=name, **WIDE, **sizes)
  assert replicated_share(program.shapes, program.shardings) <= 0.02


def test_state_is_made_sharded():
  program = build(optimizer__name="adafactor", **WIDE, **CUBE)
  found = jax.tree.map(lambda leaf: leaf.sharding, program.init(0))
  jax.tree.map(
    lambda leaf, place, actual: assert_equivalent(place, actual, leaf.ndim),
    program.shapes,
    program.shardings,
    found,
  )


def assert_equivalent(expected, actual, ndim: int) -> None:
  assert actual.is_equivalent_to(expected, ndim)


def test_replication_is_an_error_in_a_large_state_and_a_warning_in_a_small(caplog):
  changes = {"mesh__data": 1, "mesh__fsdp": 8, "mesh__rules": rules(embed="")}
  build(**changes)
  [warning] = [record.getMessage() for record in caplog.records]
  assert warning.startswith("mesh.fsdp=8 leaves 100.0% of the training state (")
  with pytest.raises(UserError, match="leaves 100.0% of the training state .*: let"):
    build(90_000, **WIDE, **changes)


def test_factored_moments_are_sharded_as_their_dimension_of_the_matrix():
  program = build(
    optimizer__name="adafactor",
    mesh__data=1,
    mesh__fsdp=4,
    **{"mesh__tensor": 2, **WIDE},
  )
  [factored] = [
    part
    for part in jax.tree.leaves(
      program.shardings.opt_state, is_leaf=lambda part: hasattr(part, "v_row")
    )
    if hasattr(part, "v_row")
  ]
  kernel = ("encoder", "layers", "attention", "query", "kernel")  # layers, embed, heads
  row, column = factored.v_row, factored.v_col
  for name in kernel:
    row, column = row[name], column[name]
  assert (row.spec[1], column.spec[1]) == ("fsdp", "tensor")


def test_slices_are_contiguous_in_the_data_axis():
  mesh = make_mesh(tiny.configure(mesh__data=4, mesh__tensor=2, mesh__slices=2))
  assert dict(mesh.shape) == {"data": 4, "fsdp": 1, "tensor": 2}
  first = {device.id for device in mesh.devices[:2].flat}
  assert first == {device.id for device in jax.devices()[:4]}


def tpus(*slices: int) -> list:
  """Returns stand-ins for devices in these slices."""
  return [
    types.SimpleNamespace(platform="tpu", slice_index=index, id=number)
    for number, index in enumerate(slices)
  ]


@pytest.mark.parametrize(
  "changes, devices, message",
  [
    ({"mesh__data": 8, "mesh__slices": 3}, None, "mesh.slices=3 must divide mesh.data"),
    ({"mesh__slices": 0}, None, "mesh.slices=0 must divide"),
    ({}, tpus(0, 0, 1, 1), "devices are in 2: set mesh.slices=2"),
    ({"mesh__slices": 2}, tpus(0, 0, 0, 0), "devices are in 1: set mesh.slices=1"),
    ({"mesh__data": 3}, None, "mesh.data=3.* 8 devices"),
    ({"mesh__data": 4}, None, "mesh.data=4"),
    ({"mesh__data": -1, "mesh__fsdp": -1}, None, "at most one is -1"),
  ],
)
def test_mesh_sizes_must_fit_the_devices(changes, devices, message):
  with pytest.raises(UserError, match=message):
    make_mesh(tiny.configure(**changes), devices)


def rules(**changes: str):
  found = tiny.configure().mesh.rules
  found.update(changes)
  return found


@pytest.mark.parametrize(
  "changes, message",
  [
    (
      {**EIGHT_HEADS, "model__decoder_feed_forward": 36},
      "mesh.tensor=8 must divide the 'mlp' dimension .36. of decoder/layers",
    ),
    (
      {**EIGHT_HEADS, "model__vocabulary_multiple": 1},
      "mesh.tensor=8 must divide the 'vocab' dimension .90. of",
    ),
    ({"model__d_model": 64}, "mesh.tensor=8 must divide model.encoder_heads .4"),
    ({"model__encoder_heads": 8}, "mesh.tensor=8 must divide model.decoder_heads .4"),
    ({"mesh__rules": rules(mlp="model")}, "mesh.rules.mlp=model: an axis of the mesh"),
    (
      {**EIGHT_HEADS, "mesh__rules": rules(embed="tensor")},
      "over one mesh axis",
    ),
  ],
)
def test_the_tensor_axis_must_divide(changes, message):
  with pytest.raises(UserError, match=message):
    build(mesh__data=1, mesh__tensor=8, **changes)


def test_the_data_axes_must_divide_a_micro_batch():
  mesh = make_mesh(tiny.configure(mesh__fsdp=4))
  sharding.check_batch(mesh, 32, 4)
  with pytest.raises(
    UserError, match="batch_size 24 / train.grad_accumulation_steps 2 must be a"
  ):
    sharding.check_batch(mesh, 24, 2)
