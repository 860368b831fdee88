# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A step that is not finite changes nothing; many in a row end the run."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import tiny_text

from elmer_jax import objectives
from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.core.errors import UserError
from elmer_jax.data.preparation import prepare
from elmer_jax.parallel import sharding
from elmer_jax.parallel.mesh import make_mesh
from elmer_jax.training import loop
from elmer_jax.training.metric_writer import MetricWriter
from elmer_jax.training.optimizer import make_optimizer
from elmer_jax.training.step import make_program


def configure(tmp_path, **changes):
  text = tmp_path / "text.txt"
  text.write_text("\n\n".join(tiny_text.documents(60)))
  config = tiny.configure(data__task="texts", data__files=str(text), **changes)
  config.mesh.data = 1
  return config


def make_poisonable(poisoned: set[int]):
  """Returns a `make_program` whose loss is NaN in these steps, counted from 0."""

  class Poisoned:
    def __init__(self, objective):
      self.evaluate = objective.evaluate
      self._loss = objective.loss

    def loss(self, model, batch, keys_B, step, train):
      sums = self._loss(model, batch, keys_B, step, train)
      is_bad = jnp.isin(step, jnp.array(sorted(poisoned), jnp.int32))
      return sums._replace(loss=sums.loss * jnp.where(is_bad, jnp.nan, 1.0))

  def make(sizes, objective, *rest):
    return make_program(sizes, Poisoned(objective), *rest)

  return make


def run(monkeypatch, tmp_path, poisoned: set[int], **changes) -> list[dict]:
  """Trains with one device; returns the lines of metrics.jsonl."""
  devices = jax.devices()[:1]
  monkeypatch.setattr(loop, "make_mesh", lambda config: make_mesh(config, devices))
  monkeypatch.setattr(loop, "make_program", make_poisonable(poisoned))
  config = configure(tmp_path, **changes)
  workdir = str(tmp_path / "run")
  try:
    loop.train(config, workdir, prepare(config, workdir))
  finally:
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line, parse_constant=pytest.fail) for line in lines]


def steps(tmp_path) -> list[int]:
  return orbax_checkpoint.list_steps(str(tmp_path / "run"))[1]


@pytest.mark.parametrize("rate", [1e-3, 1e30, float("nan")])
def test_a_step_that_is_not_finite_changes_nothing(rate):
  config = tiny.configure(optimizer__learning_rate=rate, optimizer__schedule="constant")
  mesh = make_mesh(config, jax.devices()[:1])
  make = make_poisonable({1})
  program = make(
    tiny.model_config(), objectives.get(config), *make_optimizer(config), mesh, config
  )
  with jax.set_mesh(mesh):
    state = program.init(0)
    batch = sharding.global_batch(mesh, tiny.batch())
    for step in range(3):
      before = jax.tree.map(np.asarray, state)
      state, metrics = program.train_step(state, batch, 0)
      is_bad = rate != 1e-3 or step == 1
      assert bool(metrics["is_finite"]) is not is_bad
      assert int(state.step) == step + 1
      same = jax.tree.map(
        np.array_equal, before[1:], jax.tree.map(np.asarray, state[1:])
      )
      assert all(jax.tree.leaves(same)) is is_bad


def test_a_bad_step_is_counted_and_the_run_goes_on(monkeypatch, tmp_path, caplog):
  lines = run(monkeypatch, tmp_path, {3})
  points = {line["step"]: line for line in lines if line["split"] == "train"}
  assert {step: points[step]["skipped_steps"] for step in points} == {2: 0, 4: 1, 6: 0}
  assert all(np.isfinite(points[step]["loss"]) for step in points)
  assert "step 4 is skipped" in caplog.text and "examples " in caplog.text
  assert steps(tmp_path) == [2, 6]  # nothing is saved right after a bad step


def test_bad_steps_in_a_row_end_the_run(monkeypatch, tmp_path):
  with pytest.raises(UserError, match="3 steps in a row .*learning_rate"):
    run(monkeypatch, tmp_path, {2, 3, 4}, train__max_bad_steps=2)
  assert steps(tmp_path) == [2]


def test_a_line_of_metrics_is_always_json(tmp_path):
  writer = MetricWriter(tiny.configure(), str(tmp_path), 0)
  writer.write(1, "train", {"loss": float("nan"), "accuracy": float("inf"), "x": 1.0})
  writer.close()
  path = tmp_path / "metrics.jsonl"
  [line] = path.read_text().splitlines()
  line = json.loads(line, parse_constant=pytest.fail)
  assert (line["loss"], line["accuracy"], line["x"]) == (None, None, 1.0)
  # A killed process may leave anything at the end.
  for rest in ('{"step": 1, "spl', "[]}", '{"split": "train"}', "\x00"):
    whole = path.read_text()
    path.write_text(whole + rest)
    MetricWriter(tiny.configure(), str(tmp_path), 1).close()
    assert path.read_text() == whole
