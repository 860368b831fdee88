# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The formula for operations against XLA's own count; chips by their names."""

import functools

import jax
import pytest
import tiny

from elmer_jax import objectives
from elmer_jax.model import elmer, flops
from elmer_jax.parallel import chips

ROWS, SOURCE, TARGET, VOCABULARY = 2, 64, 48, 1152
# All sizes differ, so that no term can stand for another.
SIZES = {
  "model__encoder_layers": 3,
  "model__decoder_layers": 2,
  "model__d_model": 256,
  "model__encoder_feed_forward": 768,
  "model__decoder_feed_forward": 512,
  "model__positions": 112,
}


def xla_count(objective: str, training: bool) -> float:
  """Returns the operations a row that XLA sees in the compiled program."""
  config = tiny.configure(objective__name=objective, **SIZES)
  sizes = model_config(objective)
  loss = objectives.get(config).loss

  def of_batch(params, batch):
    keys_B = jax.random.split(jax.random.key(0), ROWS)
    return loss(elmer.bind(sizes, params), batch, keys_B, 0, False).loss

  program = jax.jit(jax.grad(of_batch) if training else of_batch)
  params = jax.eval_shape(lambda: elmer.initialise(sizes, 0))
  lowered = program.lower(params, tiny.batch(ROWS, SOURCE, TARGET))
  # What would make it fast changes no count and takes most of the time.
  compiled = lowered.compile({"xla_backend_optimization_level": 0})
  return compiled.cost_analysis()["flops"] / ROWS


def model_config(objective: str):
  return tiny.model_config(VOCABULARY, objective__name=objective, **SIZES)


def our_count(objective: str) -> flops.Flops:
  # Two vertices for each target position by default.
  positions = 2 * TARGET if objective == "dag" else TARGET
  sizes = model_config(objective)
  return flops.of_example(sizes, objective, SOURCE, TARGET, positions)


@pytest.fixture(scope="module")
def unrolled():
  """XLA counts the body of a loop once, so there must be no loops."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(jax.lax, "scan", functools.partial(jax.lax.scan, unroll=True))
    yield


@pytest.fixture(scope="module")
def forward(unrolled) -> dict[str, float]:
  return {name: xla_count(name, training=False) for name in objectives.NAMES}


@pytest.mark.parametrize("objective", objectives.NAMES)
def test_a_forward_pass_takes_what_the_formula_says(forward, objective):
  """At these sizes the elementwise work, which we don't count, adds up to 5 %."""
  assert 1 < forward[objective] / our_count(objective).forward < 1.05


def test_heads_and_projections_are_what_soft_exit_adds(forward):
  theirs = forward["soft_exit"] - forward["last_layer"]
  ours = our_count("soft_exit").forward - our_count("last_layer").forward
  assert 1 < theirs / ours < 1.05


def test_training_takes_three_forward_passes(unrolled):
  """XLA sees that the head's second computation is the first one, and shares it."""
  assert 1 < xla_count("lplm", training=True) / our_count("lplm").training < 1.05


@pytest.mark.parametrize(
  ("kind", "name"),
  [
    ("TPU v4", "TPU v4"),
    ("TPU v5 lite", "TPU v5e"),
    ("TPU v5", "TPU v5p"),
    ("TPU v5p", "TPU v5p"),
    ("TPU v6 lite", "TPU v6e"),
    ("NVIDIA A100-SXM4-40GB", "NVIDIA A100 40GB"),
    ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 80GB"),
    ("NVIDIA A100 80GB PCIe", "NVIDIA A100 80GB"),
    ("NVIDIA H100 80GB HBM3", "NVIDIA H100"),
    ("NVIDIA H100 PCIe", "NVIDIA H100 PCIe"),
    ("NVIDIA H200", "NVIDIA H200"),
    ("NVIDIA L4", "NVIDIA L4"),
    ("NVIDIA L40S", None),
    ("NVIDIA H100 NVL", None),
    ("TPU v4 lite", None),
    ("cpu", None),
  ],
)
def test_chips_are_known_by_what_jax_calls_them(kind, name):
  chip = chips.of_kind(kind)
  assert (chip and chip.name) == name
