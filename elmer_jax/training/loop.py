# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop, from top to bottom: mesh, data, model, step, restore, loop."""

import contextlib

import jax
import ml_collections
from absl import logging

from elmer_jax import configuration, objectives
from elmer_jax.checkpoints import initial_params, orbax_checkpoint
from elmer_jax.checkpoints.huggingface import hf_folder
from elmer_jax.checkpoints.steps import open_manager
from elmer_jax.checkpoints.train_state import TrainState
from elmer_jax.core.compile_cache import log_compilation
from elmer_jax.core.errors import UserError
from elmer_jax.core.wording import count_of
from elmer_jax.data import loader
from elmer_jax.model.config import ModelConfig
from elmer_jax.parallel import chips, processes, sharding, stopping
from elmer_jax.parallel.mesh import make_mesh
from elmer_jax.tokenizer.bpe import Vocabulary
from elmer_jax.training.best_loss import BestLoss
from elmer_jax.training.metric_writer import MetricWriter
from elmer_jax.training.optimizer import make_optimizer, warn_of_low_peak
from elmer_jax.training.profiling import StepProfiler
from elmer_jax.training.step import Program, make_program
from elmer_jax.training.throughput import Throughput
from elmer_jax.training.time_accounting import TimeAccounting
from elmer_jax.training.train_metrics import TrainMetrics
from elmer_jax.training.validation import validate, validation_batches


def train(
  config: ml_collections.ConfigDict, workdir: str, vocabulary: Vocabulary
) -> float:
  """Trains to `config.train.steps`, from the newest checkpoint in `workdir` if any.

  The step is a pure function of (state, batch, seed), and batch t a function of (seed,
  t): an interrupted and resumed run ends with the numbers of an uninterrupted one.

  Returns:
    The seconds spent in training, earlier starts included.
  """
  steps, is_first = config.train.steps, processes.is_first()
  timers = TimeAccounting()

  # Mesh.
  chips.warn_of_unused_gpu()
  mesh = make_mesh(config)
  sharding.check_batch(
    mesh, config.data.batch_size, config.train.grad_accumulation_steps
  )

  # Data.
  rows = sharding.rows_of_process(mesh, config.data.batch_size)
  batches = loader.open_batches(config, workdir, vocabulary, "train", rows=rows)
  held_out = validation_batches(config, workdir, vocabulary, rows)

  # Model and step.
  model_config = configuration.model_config(config, vocabulary.size)
  optimizer, schedule = make_optimizer(config)
  warn_of_low_peak(config)
  program = make_program(
    model_config, objectives.get(config), optimizer, schedule, mesh, config
  )
  program = program._replace(
    init=log_compilation(program.init, "the initialisation"),
    eval_step=log_compilation(program.eval_step, "the validation step"),
    train_step=log_compilation(program.train_step, "the training step"),
  )

  # Restore.
  folder = orbax_checkpoint.checkpoints_folder(workdir)
  manager = open_manager(folder, config.checkpoint, last_step=steps)
  if is_first:
    vocabulary.save(folder / "vocabulary")
  state, metadata = _restore_or_init(config, model_config, program, manager)
  timers.resume(metadata)
  first_step = int(state.step)
  writer = MetricWriter(config, workdir, first_step, active=is_first)
  throughput = Throughput(config, model_config)
  metrics = TrainMetrics(config, writer, timers, throughput, batches)
  metrics.resume(metadata)
  best = BestLoss(metadata)
  profiler = StepProfiler(config, workdir, active=is_first)

  def save(state: TrainState, validation_loss: float | None) -> None:
    with timers.measure("checkpoint"):
      metadata = _checkpoint_metadata(config, model_config, timers)
      metadata["validation_loss"] = validation_loss
      metadata |= metrics.metadata() | best.metadata()
      orbax_checkpoint.save(manager, state, metadata)

  def evaluate(step: int, state: TrainState) -> float:
    with timers.measure("evaluation"):
      values = validate(program, state.params, mesh, held_out, config.seed)
    writer.write(step, "validation", values)
    logging.info(
      "step %d/%d  validation loss %.4f  accuracy %.3f",
      *(step, steps, values["loss"], values["accuracy"]),
    )
    return values["loss"]

  # Loop.
  timers.end_start()
  with jax.set_mesh(mesh), contextlib.ExitStack() as stack:
    # Whatever ends the loop, a save that has begun is completed.
    stack.callback(orbax_checkpoint.wait, manager)
    stack.callback(writer.close)
    if first_step == 0:
      best.add(evaluate(0, state))
    metrics.restart_clock(first_step)
    is_over = False  # the loss has not fallen for long enough
    stream = batches.iterate(first_step, config.data.loader_workers)
    for step in range(first_step + 1, steps + 1):
      with profiler.trace(step, wait=metrics.flush):
        with timers.measure("input"):
          batch = sharding.global_batch(mesh, next(stream))
        state, values = program.train_step(state, batch, config.seed)
        if step == first_step + 1:
          metrics.restart_clock(first_step)  # exclude compilation from the rates
          # Only now there is something to save.
          should_stop = stack.enter_context(stopping.deferred())
        metrics.add(step, values)
      _check_skipped(config, metrics.skipped_in_a_row)
      stops = should_stop(step)
      evaluates = step % config.train.eval_every == 0 or step == steps
      saves = manager.should_save(step) or stops
      if evaluates or saves:
        metrics.flush()
        _check_skipped(config, metrics.skipped_in_a_row)
        loss = evaluate(step, state) if evaluates else None
        if evaluates:
          saves |= best.add(loss) and config.checkpoint.keep_best
          is_over = 0 < config.train.patience <= best.evaluations_since
          saves |= is_over
        # What follows a step that was skipped may never be finite again.
        if saves and (step == steps or not metrics.skipped_in_a_row):
          save(state, loss)
        metrics.restart_clock(step)
      if stops or is_over:
        break
    with timers.measure("checkpoint"):
      orbax_checkpoint.wait(manager)
    if is_first:
      timers.write_summary(workdir, metrics.rates)
    if is_over:
      logging.info(
        "%s since the lowest validation loss: the run ends at step %d",
        *(count_of(best.evaluations_since, "evaluation"), step),
      )
    elif stops and step < steps:
      saved = manager.latest_step() or 0
      logging.info("step %d of %d is saved: the same command goes on", saved, steps)
  return timers.total_seconds


def _check_skipped(config: ml_collections.ConfigDict, skipped: int) -> None:
  """Raises `UserError` if too many steps in a row were not finite."""
  limit = config.train.max_bad_steps
  if skipped > limit:
    raise UserError(
      f"{count_of(skipped, 'step')} in a row had a loss, gradient or update that is "
      f"not finite (train.max_bad_steps={limit}): lower optimizer.learning_rate, or "
      "look at the examples that the log names; the newest checkpoint is from before "
      "them"
    )


def _restore_or_init(
  config: ml_collections.ConfigDict,
  model_config: ModelConfig,
  program: Program,
  manager,
) -> tuple[TrainState, dict]:
  """Returns the state to continue from, and the metadata saved with it.

  In this order: (1) the run's own newest checkpoint that is whole, (2) the weights that
  `init_from` names, (3) random weights.
  """
  restored = orbax_checkpoint.restore_newest(manager, program.shapes, program.shardings)
  if restored:
    logging.info("resumed from step %d of %d", restored[0].step, config.train.steps)
    return restored
  state = program.init(config.seed)
  if config.init_from:
    params = initial_params.load_initial_params(
      config.init_from, model_config, state.params
    )
    state = state._replace(params=params)
  count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
  if problem := hf_folder.why_not_writable(model_config):
    logging.info("not for export: %s", problem)
  devices = count_of(jax.device_count(), "device")
  logging.info("%s on %s", count_of(count, "parameter"), devices)
  return state, {}


def _checkpoint_metadata(
  config: ml_collections.ConfigDict, model_config: ModelConfig, timers: TimeAccounting
) -> dict:
  return {
    "model": orbax_checkpoint.model_sizes(model_config),
    "objective": config.objective.to_dict(),
    "source_length": configuration.encoder_positions(config),
    "target_length": config.data.target_length,
    "seconds": timers.total_seconds,
    "spent": timers.seconds_by_kind(),
  }
