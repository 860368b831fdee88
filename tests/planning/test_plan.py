# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Plans: costs read from compiled programs, topologies, shardings, error messages."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import tiny_tpu
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from elmer_jax.core.errors import UserError
from elmer_jax.parallel import chips
from elmer_jax.parallel.mesh import make_mesh, slice_of
from elmer_jax.planning import (
  candidates,
  hlo,
  parameter_table,
  step_costs,
  table,
  topologies,
)

ROOT = Path(__file__).parents[2]
has_libtpu = pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None, reason="needs the extra `plan`"
)
KIB = 1024


def sent(function, in_spec, out_spec, shape=(16, 256), sizes=(4, 2)):
  """Returns bytes sent per device, by kind, of a mapped function of a float32 array."""
  axes = (jax.sharding.AxisType.Auto,) * 2
  mesh = jax.make_mesh(sizes, ("a", "b"), axis_types=axes, devices=jax.devices()[:8])
  mapped = jax.shard_map(
    function, mesh=mesh, in_specs=in_spec, out_specs=out_spec, check_vma=False
  )
  array = jax.ShapeDtypeStruct(
    shape, jnp.float32, sharding=NamedSharding(mesh, in_spec)
  )
  text = jax.jit(mapped).lower(array).compile().as_text()
  return hlo.sent_by_kind(hlo.collectives(text, 8))


# Of 16 KiB in all: split over a (4), each device has 4 KiB; over both, 2 KiB.
@pytest.mark.parametrize(
  ("function", "specs", "expected"),
  [
    (lambda x: jax.lax.psum(x, "a"), (P("a"), P()), {"all-reduce": 2 * 4 * 3 / 4}),
    (lambda x: jax.lax.psum(x, "b"), (P("b"), P()), {"all-reduce": 2 * 8 * 1 / 2}),
    (
      lambda x: jax.lax.psum(x, ("a", "b")),
      (P(("a", "b")), P()),
      {"all-reduce": 2 * 2 * 7 / 8},
    ),
    (
      lambda x: jax.lax.all_gather(x, "a", tiled=True),
      (P("a"), P()),
      {"all-gather": 16 * 3 / 4},
    ),
    (
      lambda x: jax.lax.psum_scatter(x, "a", tiled=True),
      (P(), P("a")),
      {"reduce-scatter": 16 * 3 / 4},
    ),
    (
      lambda x: jax.lax.all_to_all(x, "a", 1, 0, tiled=True),
      (P("a"), P(None, "a")),
      {"all-to-all": 4 * 3 / 4},
    ),
    (
      lambda x: jax.lax.ppermute(x, "a", [(i, (i + 1) % 4) for i in range(4)]),
      (P("a"), P("a")),
      {"collective-permute": 4},
    ),
  ],
)
def test_collectives_of_known_programs(function, specs, expected):
  found = sent(function, *specs)
  assert found == {kind: size * KIB for kind, size in expected.items()}


def test_a_loop_body_counts_once_an_iteration():
  def in_loops(x):
    def inner(_, y):
      return jnp.sin(jax.lax.psum(y, "a"))

    return jax.lax.fori_loop(
      0, 3, lambda _, y: jax.lax.fori_loop(0, 5, inner, jnp.cos(y)), x
    )

  found = sent(in_loops, P("a"), P("a"))
  assert found == {"all-reduce": 15 * 2 * 4 * 3 / 4 * KIB}


@pytest.mark.parametrize(
  ("groups", "expected"),
  [
    ("{{0,1},{2,3}}", [[0, 1], [2, 3]]),
    ("[2,2]<=[4]", [[0, 1], [2, 3]]),
    ("[2,2]<=[2,2]T(1,0)", [[0, 2], [1, 3]]),
    ("mesh['x'=2,'y'=2] {'x'}", [[0, 2], [1, 3]]),
    ("mesh['x'=2,'y'=2], device_ids=([2,2]T(1,0)) {'x'}", [[0, 1], [2, 3]]),
    ("mesh['x'=2,'y'=1,'z'=2] {'z'}", [[0, 1], [2, 3]]),
    ("mesh['x'=4] {'x':(1)2}", [[0, 2], [1, 3]]),
    ("mesh['x'=4] {'x':(2)2}", [[0, 1], [2, 3]]),
    ("mesh['x'=2,'y'=2] {'x','y'}", [[0, 1, 2, 3]]),
    ("{}", [[0, 1, 2, 3]]),
  ],
)
def test_all_notations_of_groups(groups, expected):
  line = f"  %r = f32[8]{{0}} all-reduce(%p), channel_id=1, replica_groups={groups}, to"
  text = f"ENTRY %main (p: f32[8]) -> f32[8] {{\n{line}\n}}"
  [found] = hlo.collectives(text, 4)
  np.testing.assert_array_equal(found.groups, expected)
  assert hlo.joins(found, np.array([0, 1, 1, 1])) == (0 in found.groups[0])
  assert not hlo.joins(found, np.zeros(4, int))


def test_notations_of_the_tpu_compiler():
  """A scatter in a fusion, an overlapped gather, a loop without its trip count."""
  found = hlo.collectives(
    """
%all-reduce-scatter.1 (p: bf16[8,4]) -> bf16[4,4] {
  %r = bf16[8,4]{1,0:T(8,128)(2,1)} all-reduce(%p), channel_id=1, replica_groups={{0,1}}
  ROOT %s = bf16[4,4]{1,0} dynamic-slice(%r, %i, %z), dynamic_slice_sizes={4,4}
}
%overlapped.1 (p: f32[8]) -> f32[16] {
  ROOT %g = f32[16]{0} all-gather(%p), channel_id=2, replica_groups=[1,2]<=[2]
}
%overlapped.2 (p: f32[8]) -> f32[16] {
  ROOT %g = f32[16]{0} all-gather(%p), channel_id=2, replica_groups=[1,2]<=[2]
}
%cond (c: (s32[], bf16[8,4])) -> pred[] {
  %limit = s32[]{:T(128)} constant(6)
  ROOT %lt = pred[] compare(%i, %limit), direction=LT
}
%body (c: (s32[], bf16[8,4])) -> (s32[], bf16[8,4]) {
  %f = bf16[4,4]{1,0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter.1
}
ENTRY %main (p: f32[8]) -> f32[16] {
  %w = (s32[], bf16[8,4]) while(%t), condition=%cond, body=%body
  %a = f32[16]{0} fusion(%p), kind=kOutput, calls=%overlapped.1
  %b = f32[16]{0} fusion(%p), kind=kOutput, calls=%overlapped.2
}
""",
    2,
  )
  assert hlo.sent_by_kind(found) == {"reduce-scatter": 6 * 32, "all-gather": 32}


def test_costs_of_a_step():
  """A data-parallel step all-reduces the gradients, and little else.

  That of the token table may be sent once for each of its three uses.
  """
  config = tiny.configure(model__dropout=0.0)
  mesh = make_mesh(config, jax.devices()[:8])
  costs = step_costs.measure(config, mesh, chips.V5E)
  found = parameter_table.make_table(config, mesh)
  assert costs.bytes["parameters"] == found.bytes["parameters"]
  assert costs.bytes["optimizer"] == found.bytes["optimizer"]
  assert costs.fits and costs.bytes["temporaries"] > 0
  tokens = next(one.bytes for one in found.parameters if one.name == "tokens")
  gradients = costs.bytes["parameters"]
  all_reduced = sum(costs.sent.values()) / (2 * 7 / 8)
  assert gradients * 0.95 < all_reduced < (gradients + 2 * tokens) * 1.05
  assert costs.bound == max(costs.bounds.values()) > 0


@pytest.mark.parametrize(
  ("name", "layout", "size"),
  [
    ("v4:4x4x4", "v4:4x4x4", 64),
    ("v4-128", "v4:4x4x4", 64),
    ("v4-8", "v4:2x2x1", 4),
    ("v4-32", "v4:2x2x4", 16),
    ("v5p-128", "v5p:4x4x4", 64),
    ("v5e-256", "v5e:16x16", 256),
    ("v5e-8", "v5e:2x4", 8),
    ("v6e-64", "v6e:8x8", 64),
  ],
)
def test_topology_names(name, layout, size):
  topology = topologies.parse(name)
  assert (topology.name, topology.chips) == (layout, size)
  assert topologies.parse(name, slices=2).name == f"2*{layout}"


@pytest.mark.parametrize("name", ["v9-8", "v5e", "v4:4x4", "v5e-17", "v4-4", "h100-8"])
def test_invalid_topology_names(name):
  with pytest.raises(UserError, match=name):
    topologies.parse(name)


def test_steps_of_a_sweep():
  config = tiny.configure()
  found = candidates.parse_candidates(
    config, "v5e-16", "-1,2,1", ["4x2x2", "v5e-64", "v5e-64/64x1x1"]
  )
  assert [(one.topology.chips, one.mesh_sizes) for one in found] == [
    (16, (4, 2, 2)),
    (64, (-1, 2, 1)),
    (64, (64, 1, 1)),
  ]
  with pytest.raises(UserError, match="add --topology"):
    candidates.parse_candidates(config, None, None, ["4x2x2"])
  for wrong in ("4,4", "a,1,1", "1,1,1,1"):
    with pytest.raises(UserError, match="three sizes"):
      candidates.parse_mesh(wrong)


def plan(*flags: str, **environment: str) -> subprocess.CompletedProcess:
  command = [sys.executable, "-m", "elmer_jax.plan", *flags]
  return subprocess.run(
    command,
    cwd=ROOT,
    env=os.environ | environment,
    capture_output=True,
    text=True,
    timeout=300,
  )


def test_parameters_on_this_machine():
  done = plan(
    *("--config=configs/pretrain_base.py", "--topology=local", "--mesh=2,4,1"),
    "--format=json",
    XLA_FLAGS="--xla_force_host_platform_device_count=8",
    JAX_PLATFORMS="cpu",
  )
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout)
  tokens = next(one for one in found["parameters"] if one["name"] == "tokens")
  assert tokens["shape"] == [50304, 768]
  assert tokens["axes"] == ["vocab", "embed"]
  assert tokens["split"] == ["tensor", "fsdp"]
  assert tokens["bytes"] == 4 * tokens["bytes_per_device"] == 50304 * 768 * 4
  # AdamW keeps two moments of each parameter, and step counts.
  whole = found["bytes"]
  assert 0 < whole["optimizer"] - 2 * whole["parameters"] < KIB
  share = found["bytes_per_device"]["optimizer"] / whole["optimizer"]
  assert 0.25 < share < 0.26


def test_totals_come_before_the_parameters():
  config = tiny.configure(mesh__fsdp=4)
  mesh = make_mesh(config, jax.devices()[:8])
  found = parameter_table.make_table(config, mesh)
  lines = parameter_table.format_table(found).splitlines()
  assert lines[0].endswith(" parameters on the mesh data 2, fsdp 4, tensor 1")
  assert lines[1].startswith("parameters: ") and lines[2].startswith("optimizer: ")
  assert lines[4].startswith("parameter ")
  assert len(lines) == 5 + len(found.parameters)


def test_every_process_of_a_topology_gets_rows(monkeypatch):
  """Two of the four hosts of v5e-16 share their rows along the tensor axis."""
  monkeypatch.setattr(topologies, "devices", tiny_tpu.devices)
  monkeypatch.setattr(step_costs, "measure", lambda *arguments: None)
  config = tiny.configure(mesh__data=1, mesh__fsdp=4, mesh__tensor=4)
  [candidate] = candidates.parse_candidates(config, "v5e-16", None, [])
  step = candidates.plan(config, candidate, batch_per_chip=2)
  assert step.rows_per_process == dict.fromkeys(range(4), 16)
  assert "each of 4 processes reads 16 examples" in table.format_step(step)


@pytest.mark.parametrize(
  ("flags", "words"),
  [
    ([], "--topology is missing"),
    (["--topology=v5e:4"], "a v5e layout has 2 sizes"),
    (["--topology=local", "--mesh=3,1,1"], "doesn't match"),
    (["--topology=local", "--mesh=1,1"], "three sizes"),
  ],
)
def test_bad_input_is_one_line(flags, words):
  done = plan("--config=configs/pretrain_base.py", *flags, JAX_PLATFORMS="cpu")
  assert done.returncode == 2
  assert words in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"mesh__tensor": 8, "model__d_model": 36}, "must divide"),
    ({"mesh__data": 8, "data__batch_size": 12}, "multiple of"),
  ],
)
def test_mesh_sizes_that_do_not_divide(changes, words):
  config = tiny.configure(**changes)
  with pytest.raises(UserError, match=words):
    parameter_table.make_table(config, make_mesh(config, jax.devices()[:8]))


def test_without_libtpu_the_extra_is_named(monkeypatch):
  monkeypatch.setattr(topologies.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match="the extra `plan`"):
    topologies.devices(topologies.parse("v5e:2x2"))


@has_libtpu
def test_a_layout_that_libtpu_refuses():
  with pytest.raises(UserError, match="v5e:3x5"):
    topologies.devices(topologies.parse("v5e:3x5"))


@has_libtpu
def test_devices_of_two_slices():
  found = topologies.devices(topologies.parse("v5e:2x2", slices=2))
  assert [slice_of(device) for device in found] == [0] * 4 + [1] * 4
