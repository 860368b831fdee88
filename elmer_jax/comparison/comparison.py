# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What a comparison has to do, stage by stage."""

import functools
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import ml_collections

from elmer_jax import configuration
from elmer_jax.checkpoints import averaging, orbax_checkpoint
from elmer_jax.commands import pipeline
from elmer_jax.comparison import page, results, table, variants
from elmer_jax.comparison.paths import Places
from elmer_jax.comparison.stages import Stage
from elmer_jax.comparison.variants import Row
from elmer_jax.core import compile_cache
from elmer_jax.core.atomic_files import write_whole
from elmer_jax.core.errors import UserError
from elmer_jax.data import prepared_data
from elmer_jax.data.preparation import prepare
from elmer_jax.evaluation import baselines, latency
from elmer_jax.generation import api, distillation
from elmer_jax.reports.run_report import write_report

Config = ml_collections.ConfigDict


class Work:
  """A comparison in its folder.

  Attributes:
    places: where everything lies.
  """

  def __init__(self, config: Config, root: Path):
    """Takes a configuration as `configuration.comparison` has it.

    Raises:
      UserError: nothing can be compared by it.
    """
    _check(config)
    self.places = Places(config, root)
    self._config = config
    self._rows = variants.chosen(config.compare.rows)
    self._seeds = tuple(config.compare.seeds)

  def stages(self) -> list[Stage]:
    """Returns all there is to do, in order."""
    work = [Stage("prepare", "prepare", 1, self._is_prepared, self._prepare)]
    if self._pretrains:
      config, folder = self.places.pretraining()
      work += [_training(config, folder), _evaluation(config, folder)]
    for seed in self._seeds:
      work += self._stages_of_seed(seed)
    return [
      *work,
      Stage("measure times", "time", 1, self._is_timed, self._time),
      Stage("write the tables", "tell", 1, self._is_told, self._tell),
    ]

  def _stages_of_seed(self, seed: int) -> Iterator[Stage]:
    trained = list(dict.fromkeys(row.trained for row in self._rows))
    teaches = any(variants.ROWS[name].distilled for name in trained)
    if teaches and variants.GREEDY not in trained:
      trained.insert(0, variants.GREEDY)
    students = [name for name in trained if variants.ROWS[name].distilled]
    for name in trained:
      if name in students[:1]:
        yield self._distillation(seed)
      yield _training(*self.places.run(variants.ROWS[name], seed))
      read = [row for row in self._rows if row.trained == name]
      for averaged in (False, True):
        alike = [row for row in read if row.averaged == averaged]
        yield from self._evaluations(alike, seed)

  def _evaluations(self, alike: Sequence[Row], seed: int) -> Iterator[Stage]:
    """Yields what evaluates rows that decode the same weights."""
    if not alike:
      return
    config, folder = self.places.weights(alike[0], seed)
    if alike[0].averaged:
      yield _averaging(config, self.places.run(alike[0], seed)[1], folder)
    for variant in dict.fromkeys(row.variant for row in alike):
      several = [row for row in alike if row.variant == variant]
      oracle = any(row.oracle for row in several)
      yield _evaluation(config, folder, several[0], oracle)

  @property
  def _pretrains(self) -> bool:
    """Whether a pre-training is part of the comparison."""
    wanted = any(row.pretrained for row in self._rows)
    return wanted and not self._config.finetune.init_from

  def _parts(self) -> list[Config]:
    """Returns the parts that are trained on; a vocabulary is made of the first."""
    names = ["pretrain", "finetune"] if self._pretrains else ["finetune"]
    return [self.places.part(name) for name in names]

  def _is_prepared(self) -> bool:
    return all(prepared_data.read_parts(part, "") for part in self._parts())

  def _prepare(self) -> None:
    for part in self._parts():
      part.data.vocabulary = self.places.given_vocabulary()
      prepare(part, str(self.places.prepared))

  def _distillation(self, seed: int) -> Stage:
    config, folder = self.places.run(variants.ROWS[variants.GREEDY], seed)
    path = self.places.distilled(seed)
    return Stage(
      f"distill {folder.name}",
      "distill",
      1,
      path.exists,
      lambda: distillation.distill(config, str(folder), str(path), beams=1),
    )

  # What is timed and told anew once a row is added.

  def _timed_rows(self) -> list[Row]:
    """The length of a reference that isn't there can't be used: no time is told."""
    return [row for row in self._rows if not row.oracle]

  def _timed(self) -> dict:
    seed = self._seeds[0]
    return {
      "calls": self._config.compare.timed_calls,
      "updates": {
        row.name: self.places.measured_at(row, seed) for row in self._timed_rows()
      },
    }

  def _told(self) -> dict:
    latency = self.places.latency
    times = json.loads(latency.read_text())["seconds"] if latency.exists() else {}
    return {
      "timed": self._timed(),
      "seconds": times,
      "examples": self._config.finetune.evaluate.examples,
      "resamples": self._config.compare.resamples,
      "updates": {
        row.name: {
          str(seed): self.places.measured_at(row, seed) for seed in self._seeds
        }
        for row in self._rows
      },
    }

  def _is_timed(self) -> bool:
    return _made_of(self.places.latency) == self._timed()

  def _is_told(self) -> bool:
    return _made_of(self.places.table) == self._told()

  def _time(self) -> None:
    compile_cache.cache_programs()
    seed = self._seeds[0]
    load = functools.cache(api.load)
    writers = {
      row.name: latency.Writer(
        load(str(self.places.weights(row, seed)[1])), row.settings
      )
      for row in self._timed_rows()
    }
    calls = self._config.compare.timed_calls
    lines = self.places.measured(self._rows[0], seed).predictions
    sources = baselines.spread(
      [line["source"] for line in lines], calls * max(latency.BATCHES)
    )
    found = {
      "made_of": self._timed(),
      "device": jax.devices()[0].device_kind,
      "cores": os.cpu_count(),
      "jax": jax.__version__,
      "seconds": latency.measure(writers, sources, calls),
    }
    write_whole(self.places.latency, json.dumps(found, indent=1) + "\n")

  def _tell(self) -> None:
    timed = json.loads(self.places.latency.read_text())
    measured = {
      row: {seed: self.places.measured(row, seed) for seed in self._seeds}
      for row in self._rows
    }
    found = results.collect(measured, timed["seconds"], self._config.compare.resamples)
    machine = {name: timed[name] for name in ("device", "cores", "jax")}
    content = {"made_of": self._told(), "machine": machine, **found}
    samples = {
      row.name: by_seed[self._seeds[0]].found["samples"]
      for row, by_seed in measured.items()
    }
    write_whole(self.places.page, page.page(content, samples))
    text = "\n".join(map(table.markdown, table.tables(content)))
    write_whole(self.places.table.with_suffix(".md"), text)
    write_whole(self.places.table, json.dumps(content, indent=1) + "\n")


def _check(config: Config) -> None:
  for part in (config.pretrain, config.finetune):
    configuration.check(part)
  if config.pretrain.objective.name != "lplm":
    raise UserError(
      f"pretrain.objective.name is {config.pretrain.objective.name!r}, not lplm"
    )
  if not config.compare.seeds:
    raise UserError("compare.seeds is empty: name at least one, as in '(0,)'")
  for key, least in (("resamples", 100), ("timed_calls", 1)):
    if config.compare[key] < least:
      raise UserError(f"compare.{key} must be at least {least}")


def _made_of(path: Path) -> dict | None:
  return json.loads(path.read_text())["made_of"] if path.exists() else None


def _training(config: Config, folder: Path) -> Stage:
  """Returns the stage that trains a run."""
  lengths = config.data.source_length + config.data.target_length
  return Stage(
    f"train {folder.name}",
    "train",
    config.train.steps * config.data.batch_size * lengths,
    lambda: orbax_checkpoint.is_finished(str(folder), config.train.steps),
    lambda: pipeline.train(config, str(folder)),
    lambda: _seconds(folder, "train"),
  )


def _averaging(config: Config, run: Path, folder: Path) -> Stage:
  """Returns the stage that makes the mean of a run's last checkpoints."""

  def average() -> None:
    _, steps = orbax_checkpoint.list_steps(str(run))
    if len(steps) < 2:
      raise UserError(
        f"{run} has one checkpoint, nothing to average: set finetune.checkpoint.every "
        "lower"
      )
    shutil.rmtree(folder, ignore_errors=True)  # what an interrupted start left
    averaging.average(str(run), str(folder), min(len(steps), variants.AVERAGED))

  return Stage(
    f"average {run.name}",
    "average",
    1,
    lambda: orbax_checkpoint.is_finished(str(folder), config.train.steps),
    average,
  )


def _evaluation(
  config: Config, folder: Path, row: Row | None = None, oracle: bool = False
) -> Stage:
  """Returns the stage that evaluates a run: as it is, or as `row` decodes it."""
  variant = row.variant if row else ""
  settings = row.settings if row else {}
  split = pipeline.measured_split(config)

  def is_done() -> bool:
    if not orbax_checkpoint.is_finished(str(folder), config.train.steps):
      return False
    found = pipeline.evaluated(config, str(folder), split, variant, oracle)
    return found is not None

  def evaluate() -> None:
    pipeline.evaluate(config, str(folder), split, settings, variant, oracle)
    if not variant:
      write_report([folder], folder / "report")

  return Stage(
    f"evaluate {folder.name}{' as ' * bool(variant)}{variant}",
    "evaluate" if row else "evaluate the pre-training",
    1,
    is_done,
    evaluate,
    lambda: _seconds(folder, "-".join(filter(None, ("evaluate", variant)))),
  )


def _seconds(folder: Path, stage: str) -> float | None:
  path = folder / "timing.json"
  return json.loads(path.read_text()).get(stage) if path.exists() else None
