# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What a plan reads out of compiled programs, and what it says."""

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
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from elmer_jax.core.errors import UserError
from elmer_jax.parallel import chips
from elmer_jax.parallel.mesh import make_mesh
from elmer_jax.planning import hlo, parameter_table, step_costs, topologies, trials

ROOT = Path(__file__).parents[2]
has_libtpu = pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None, reason="needs the extra `plan`"
)
KIB = 1024


def sent(function, in_spec, out_spec, shape=(16, 256), sizes=(4, 2)):
  """Returns bytes sent a device by kind, of a mapped function of a float32 array."""
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


def test_a_loop_counts_as_often_as_it_turns():
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
def test_groups_in_all_their_forms(groups, expected):
  line = f"  %r = f32[8]{{0}} all-reduce(%p), channel_id=1, replica_groups={groups}, to"
  text = f"ENTRY %main (p: f32[8]) -> f32[8] {{\n{line}\n}}"
  [found] = hlo.collectives(text, 4)
  np.testing.assert_array_equal(found.groups, expected)
  assert hlo.crosses(found, np.array([0, 1, 1, 1])) == (0 in found.groups[0])
  assert not hlo.crosses(found, np.zeros(4, int))


def test_the_forms_of_the_tpu_compiler():
  """A scatter in a fusion, a gather overlapped with work, a loop without a note."""
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


def test_an_account_of_a_step():
  """The gradients of a data-parallel step are summed over the devices, and little else.

  Those of the token table may travel once for each of its three uses.
  """
  config = tiny.configure(model__dropout=0.0)
  mesh = make_mesh(config, jax.devices()[:8])
  account = step_costs.of_step(config, mesh, chips.V5E)
  placed = parameter_table.lay_out(config, mesh)
  assert account.bytes["parameters"] == placed.bytes["parameters"]
  assert account.bytes["optimizer"] == placed.bytes["optimizer"]
  assert account.fits and account.bytes["temporaries"] > 0
  table = next(one.bytes for one in placed.parameters if one.name == "tokens")
  gradients = account.bytes["parameters"]
  all_reduced = sum(account.sent.values()) / (2 * 7 / 8)
  assert gradients * 0.95 < all_reduced < (gradients + 2 * table) * 1.05
  assert account.bound == max(account.bounds.values()) > 0


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
def test_names_of_pods(name, layout, size):
  topology = topologies.parse(name)
  assert (topology.name, topology.chips) == (layout, size)
  assert topologies.parse(name, slices=2).name == f"2*{layout}"


@pytest.mark.parametrize("name", ["v9-8", "v5e", "v4:4x4", "v5e-17", "v4-4", "h100-8"])
def test_names_of_no_pod(name):
  with pytest.raises(UserError, match=name):
    topologies.parse(name)


def test_what_a_sweep_walks():
  config = tiny.configure()
  found = trials.parse(config, "v5e-16", "-1,2,1", ["4x2x2", "v5e-64", "v5e-64/64x1x1"])
  assert [(one.topology.chips, one.sizes) for one in found] == [
    (16, (4, 2, 2)),
    (64, (-1, 2, 1)),
    (64, (64, 1, 1)),
  ]
  with pytest.raises(UserError, match="--topology says of which chips"):
    trials.parse(config, None, None, ["4x2x2"])
  for wrong in ("4,4", "a,1,1", "1,1,1,1"):
    with pytest.raises(UserError, match="three sizes"):
      trials.parse_mesh(wrong)


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


def test_the_parameters_of_this_machine():
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
  # AdamW keeps two numbers a parameter, and counts.
  whole = found["bytes"]
  assert 0 < whole["optimizer"] - 2 * whole["parameters"] < KIB
  share = found["bytes_per_device"]["optimizer"] / whole["optimizer"]
  assert 0.25 < share < 0.26


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
def test_what_a_mesh_does_not_divide(changes, words):
  config = tiny.configure(**changes)
  with pytest.raises(UserError, match=words):
    parameter_table.lay_out(config, make_mesh(config, jax.devices()[:8]))


def test_without_libtpu_the_extra_is_named(monkeypatch):
  monkeypatch.setattr(topologies.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match="the extra `plan`"):
    topologies.devices(topologies.parse("v5e:2x2"))


@has_libtpu
def test_a_layout_that_libtpu_refuses():
  with pytest.raises(UserError, match="v5e:3x5"):
    topologies.devices(topologies.parse("v5e:3x5"))


@has_libtpu
def test_two_slices_are_told_apart():
  found = topologies.devices(topologies.parse("v5e:2x2", slices=2))
  assert [step_costs.slice_of(device) for device in found] == [0] * 4 + [1] * 4
