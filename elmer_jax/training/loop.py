# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop, from top to bottom: mesh, data, model, step, restore, loop."""

import statistics

import jax
import ml_collections
import numpy as np
from absl import logging

from elmer_jax import configuration, objectives
from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.checkpoints.train_state import State
from elmer_jax.model.config import ModelConfig
from elmer_jax.parallel import processes, sharding
from elmer_jax.parallel.mesh import make_mesh
from elmer_jax.tokenizer.bpe import Vocabulary
from elmer_jax.training import batches
from elmer_jax.training.metric_writer import Metrics, Progress
from elmer_jax.training.optimizer import make_optimizer
from elmer_jax.training.profiling import Profile
from elmer_jax.training.step import Program, make_program
from elmer_jax.training.time_accounting import Accounts, Rates


def train(
  config: ml_collections.ConfigDict, workdir: str, vocabulary: Vocabulary
) -> float:
  """Trains to `config.train.steps`, from the newest checkpoint in `workdir` if any.

  The step is a pure function of (state, batch, seed) and batch t one of (seed, t), so
  a run that was cut short ends with the same numbers as one that was not.

  Returns:
    The seconds spent in training, earlier starts included.
  """
  steps = config.train.steps
  accounts = Accounts()
  # Mesh and data.
  mesh = make_mesh(config)
  sharding.check_batch(
    mesh, config.data.batch_size, config.train.grad_accumulation_steps
  )
  rows = sharding.rows_of_process(mesh, config.data.batch_size)
  data = batches.open_batches(config, workdir, vocabulary, "train", rows)
  held_out = batches.fixed_batches(config, workdir, vocabulary, rows)

  # Model and step.
  model_config = configuration.model_config(config, vocabulary.size)
  optimizer, schedule = make_optimizer(config)
  program = make_program(
    model_config, objectives.get(config), optimizer, schedule, mesh, config
  )

  # State: restored, or fresh.
  folder = orbax_checkpoint.folder_of(workdir)
  manager = orbax_checkpoint.open_manager(folder, keep=config.checkpoint.max_to_keep)
  if processes.is_first():
    vocabulary.save(folder / "vocabulary")
  state, metadata = _start(config, model_config, program, manager)
  accounts.resume(metadata)
  first = int(state.step)
  metrics = Metrics(workdir, first, active=processes.is_first())

  def save(state: State) -> None:
    with accounts.spend("checkpoint"):
      orbax_checkpoint.save(manager, state, _metadata(config, model_config, accounts))

  def evaluate(state: State) -> None:
    with accounts.spend("evaluation"):
      values = validate(program, state.params, mesh, held_out, config.seed)
    metrics.write(int(state.step), "validation", values)
    logging.info(
      "step %d/%d  validation loss %.4f  accuracy %.3f",
      *(int(state.step), steps, values["loss"], values["accuracy"]),
    )

  # Loop.
  accounts.end_start()
  with jax.set_mesh(mesh):
    if first == 0:
      evaluate(state)
    report = _Reporter(
      metrics, Progress(first, steps), accounts, Rates(config, model_config), config
    )
    profile = Profile(config, workdir, active=processes.is_first())
    stream = data.iterate(first)
    for step in range(first + 1, steps + 1):
      with profile.of(step, wait=report.flush):
        with accounts.spend("input"):
          batch = sharding.global_batch(mesh, next(stream))
        state, values = program.train(state, batch, config.seed)
        if step == first + 1:
          report.restart(first)  # what compiling took is no rate
        # The device works on this step while the host reads the last one's metrics.
        report.after(step, values)
      evaluates = step % config.train.eval_every == 0 or step == steps
      saves = step % config.checkpoint.every == 0 or step == steps
      if evaluates or saves:
        report.flush()
        if evaluates:
          evaluate(state)
        if saves:
          save(state)
        report.restart(step)
    with accounts.spend("checkpoint"):
      manager.wait_until_finished()
  manager.close()
  metrics.close()
  if processes.is_first():
    accounts.close(workdir, report.rates)
  return accounts.seconds


class _Reporter:
  """Reads each step's metrics one step late, so that nobody waits for the device."""

  def __init__(
    self,
    metrics: Metrics,
    progress: Progress,
    accounts: Accounts,
    rates: Rates,
    config: ml_collections.ConfigDict,
  ):
    self._metrics, self._progress = metrics, progress
    self._accounts, self._rates = accounts, rates
    self._every, self._steps = config.train.log_every, config.train.steps
    self.rates: dict[str, float] = {}  # of the last line
    self._since: list[dict[str, float]] = []  # the steps since the last line
    self._pending: tuple[int, dict] | None = None

  def after(self, step: int, values: dict) -> None:
    """Takes the metrics of `step` and deals with those of the step before."""
    self.flush()
    self._pending = step, values

  def flush(self) -> None:
    """Deals with the last step's metrics now; a line tells the mean since the last."""
    if self._pending is None:
      return
    step, values = self._pending
    self._pending = None
    self._since.append({name: float(value) for name, value in values.items()})
    if step % self._every == 0 or step == self._steps:
      tokens = sum(values["tokens"] for values in self._since)
      means = {
        name: statistics.fmean(values[name] for values in self._since)
        for name in values
        if name != "tokens"
      }
      means["learning_rate"] = self._since[-1]["learning_rate"]
      line = self._progress.line(step, means, tokens)
      per_second = line["updates_per_second"], line["tokens_per_second"]
      self.rates = self._rates.of(*per_second)
      self._metrics.write(step, "train", line | self.rates | self._accounts.figures())
      self._since = []

  def restart(self, step: int) -> None:
    """Leaves the time of an evaluation or a save out of the next rate."""
    self._since = []
    self._progress.restart(step)


def validate(
  program: Program,
  params: dict,
  mesh: jax.sharding.Mesh,
  held_out: list[dict[str, np.ndarray]],
  seed: int,
) -> dict[str, float]:
  """Returns the objective's means over the tokens of the batches `held_out`."""
  total = None
  for number, rows in enumerate(held_out):
    sums = program.evaluate(params, sharding.global_batch(mesh, rows), seed, number)
    total = sums if total is None else jax.tree.map(np.add, total, sums)
  tokens = float(total.tokens)
  means = {name: float(value) / tokens for name, value in total.metrics.items()}
  return {"loss": float(total.loss) / tokens, **means}


def _start(
  config: ml_collections.ConfigDict,
  model_config: ModelConfig,
  program: Program,
  manager,
) -> tuple[State, dict]:
  """Returns the state to go on from, and the metadata that was saved with it."""
  step = manager.latest_step()
  if step is not None:
    state, metadata = orbax_checkpoint.restore(
      manager, step, program.shapes, program.shardings
    )
    logging.info("resumed from update %d of %d", step, config.train.steps)
    return state, metadata
  state = program.init(config.seed)
  if config.init_from:
    params = orbax_checkpoint.start_from(config.init_from, model_config, state.params)
    state = state._replace(params=params)
  count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
  logging.info("%s parameters on %d devices", f"{count:,}", jax.device_count())
  return state, {}


def _metadata(
  config: ml_collections.ConfigDict, model_config: ModelConfig, accounts: Accounts
) -> dict:
  return {
    "model": orbax_checkpoint.describe(model_config),
    "objective": config.objective.to_dict(),
    "source_length": config.data.source_length,
    "target_length": config.data.target_length,
    "seconds": accounts.seconds,
    "spent": accounts.spent(),
  }
