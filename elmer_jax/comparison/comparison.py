# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A comparison as a list of stages."""

import functools
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import ml_collections
from absl import logging

from elmer_jax import configuration
from elmer_jax.checkpoints import averaging, orbax_checkpoint
from elmer_jax.commands import pipeline
from elmer_jax.commands.run_folder import claim_run_folder
from elmer_jax.comparison import page, results, stages, table, variants
from elmer_jax.comparison.paths import ComparisonPaths
from elmer_jax.comparison.stages import Stage
from elmer_jax.comparison.variants import Variant
from elmer_jax.configuration_ranges import RANGES
from elmer_jax.core import compile_cache
from elmer_jax.core.atomic_files import write_whole
from elmer_jax.core.errors import UserError
from elmer_jax.core.json_files import read_object, read_object_if_present
from elmer_jax.core.ranges import check_ranges
from elmer_jax.data import prepared_data
from elmer_jax.data.preparation import prepare
from elmer_jax.evaluation import baselines, latency
from elmer_jax.generation import api, distillation
from elmer_jax.reports.run_report import write_report

Config = ml_collections.ConfigDict


class Comparison:
  """A comparison in its folder.

  Attributes:
    paths: its files.
  """

  def __init__(self, config: Config, root: Path):
    """Creates a comparison from a configuration like `configuration.comparison()`.

    Raises:
      UserError: the configuration can't be compared.
    """
    _check(config)
    self.paths = ComparisonPaths(config, root)
    self._config = config
    self._variants = variants.select(config.compare.rows)
    self._seeds = tuple(config.compare.seeds)

  def stages(self) -> list[Stage]:
    """Returns all stages, in order."""
    stages = [Stage("prepare", "prepare", 1, self._is_prepared, self._prepare)]
    if self._pretrains:
      config, folder = self.paths.pretraining()
      stages += [_training(config, folder), _evaluation(config, folder)]
    for seed in self._seeds:
      stages += self._stages_of_seed(seed)
    return [
      *stages,
      Stage("measure latency", "latency", 1, self._is_timed, self._time),
      Stage("write the tables", "tables", 1, self._is_written, self._write),
    ]

  def _stages_of_seed(self, seed: int) -> Iterator[Stage]:
    names = list(dict.fromkeys(variant.run_name for variant in self._variants))
    students = [name for name in names if variants.VARIANTS[name].distilled]
    if students and variants.GREEDY not in names:
      names.insert(0, variants.GREEDY)  # their teacher
    for name in names:
      if name in students[:1]:
        yield self._distillation(seed)
      yield _training(*self.paths.run(variants.VARIANTS[name], seed))
      decoded = [variant for variant in self._variants if variant.run_name == name]
      for averaged in (False, True):
        same_weights = [v for v in decoded if v.averaged == averaged]
        yield from self._evaluations(same_weights, seed)

  def _evaluations(self, same_weights: Sequence[Variant], seed: int) -> Iterator[Stage]:
    """Yields the evaluations of variants that decode the same weights."""
    if not same_weights:
      return
    first = same_weights[0]
    config, folder = self.paths.weights(first, seed)
    if first.averaged:
      yield _averaging(config, self.paths.run(first, seed)[1], folder)
    for suffix in dict.fromkeys(variant.file_suffix for variant in same_weights):
      same_files = [v for v in same_weights if v.file_suffix == suffix]
      oracle = any(variant.oracle for variant in same_files)
      yield _evaluation(config, folder, same_files[0], oracle)

  @property
  def _pretrains(self) -> bool:
    """Whether a pre-training is part of the comparison."""
    wanted = any(variant.pretrained for variant in self._variants)
    return wanted and not self._config.finetune.init_from

  def _parts(self) -> list[Config]:
    """Returns the parts that are trained; the first one trains the vocabulary."""
    names = ["pretrain", "finetune"] if self._pretrains else ["finetune"]
    return [self.paths.part(name) for name in names]

  def _is_prepared(self) -> bool:
    return all(prepared_data.read_parts(part, "") for part in self._parts())

  def _prepare(self) -> None:
    first, *others = self._parts()
    first.data.vocabulary = self.paths.given_vocabulary()
    for part in (first, *others):
      prepare(part, str(self.paths.prepared))

  def _distillation(self, seed: int) -> Stage:
    config, folder = self.paths.run(variants.VARIANTS[variants.GREEDY], seed)
    path = self.paths.distilled(seed)
    return Stage(
      f"distill {folder.name}",
      "distill",
      1,
      path.exists,
      lambda: distillation.distill(config, str(folder), str(path), beams=1),
    )

  # Files are written again when what they were made of has changed.

  def _timed_variants(self) -> list[Variant]:
    """Returns all but oracles: without references nothing can be decoded like them."""
    return [variant for variant in self._variants if not variant.oracle]

  def _latency_made_of(self) -> dict:
    seed = self._seeds[0]
    return {
      "calls": self._config.compare.timed_calls,
      "updates": {
        variant.name: self.paths.evaluated_step(variant, seed)
        for variant in self._timed_variants()
      },
    }

  def _table_made_of(self) -> dict:
    latency = self.paths.latency
    found = read_object_if_present(latency, {"seconds": dict}, "delete it")
    times = found["seconds"] if found else {}
    return {
      "timed": self._latency_made_of(),
      "seconds": times,
      "examples": self._config.finetune.evaluate.examples,
      "resamples": self._config.compare.resamples,
      "updates": {
        variant.name: {
          str(seed): self.paths.evaluated_step(variant, seed) for seed in self._seeds
        }
        for variant in self._variants
      },
    }

  def _is_timed(self) -> bool:
    return _made_of(self.paths.latency) == self._latency_made_of()

  def _is_written(self) -> bool:
    return _made_of(self.paths.table) == self._table_made_of()

  def _time(self) -> None:
    seed = self._seeds[0]
    load = functools.cache(api.load)
    systems = {
      variant.name: latency.System(
        load(str(self.paths.weights(variant, seed)[1])), variant.decoding
      )
      for variant in self._timed_variants()
    }
    calls = self._config.compare.timed_calls
    lines = self.paths.evaluation(self._variants[0], seed).predictions
    sources = baselines.evenly_spaced(
      [line["source"] for line in lines], calls * max(latency.BATCHES)
    )
    found = {
      "made_of": self._latency_made_of(),
      "device": jax.devices()[0].device_kind,
      "cores": os.cpu_count(),
      "jax": jax.__version__,
      "seconds": latency.measure(systems, sources, calls),
    }
    write_whole(self.paths.latency, json.dumps(found, indent=1) + "\n")

  def _write(self) -> None:
    timed = read_object(self.paths.latency)
    evaluations = {
      variant: {seed: self.paths.evaluation(variant, seed) for seed in self._seeds}
      for variant in self._variants
    }
    resamples = self._config.compare.resamples
    found = results.collect(evaluations, timed["seconds"], resamples)
    machine = {name: timed[name] for name in ("device", "cores", "jax")}
    content = {"made_of": self._table_made_of(), "machine": machine, **found}
    samples = {
      variant.name: by_seed[self._seeds[0]].found["samples"]
      for variant, by_seed in evaluations.items()
    }
    write_whole(self.paths.page, page.page(content, samples))
    text = "\n".join(map(table.markdown, table.tables(content)))
    write_whole(self.paths.table.with_suffix(".md"), text)
    write_whole(self.paths.table, json.dumps(content, indent=1) + "\n")


def compare(config: Config, workdir: str) -> None:
  """Runs what is missing of a comparison and prints its table.

  Args:
    config: like `configuration.comparison()`.
    workdir: folder of the comparison.
  """
  comparison = Comparison(config, Path(os.path.abspath(workdir)))
  claim_run_folder(config, workdir, configuration.COMPARISON)
  compile_cache.cache_programs(workdir)  # rows and seeds share programs
  stages.run(comparison.stages())
  print(comparison.paths.table.with_suffix(".md").read_text(encoding="utf-8"), end="")
  logging.info("page: %s; all figures: table.json beside it", comparison.paths.page)


def _check(config: Config) -> None:
  check_ranges(configuration.flat_keys(config), RANGES)
  for part in ("pretrain", "finetune"):
    configuration.check(config[part], f"{part}.")
  if config.pretrain.objective.name != "lplm":
    raise UserError(
      f"pretrain.objective.name is {config.pretrain.objective.name!r}, not lplm"
    )
  if not config.compare.seeds:
    raise UserError("compare.seeds is empty: give at least one, as in '(0,)'")


def _made_of(path: Path) -> dict | None:
  found = read_object_if_present(path, {"made_of": dict}, "delete it")
  return found and found["made_of"]


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
  """Returns the stage that averages a run's last checkpoints."""

  def average() -> None:
    _, steps = orbax_checkpoint.list_steps(str(run))
    if len(steps) < 2:
      raise UserError(
        f"{run} has one checkpoint, but averaging needs two: set a lower "
        "finetune.checkpoint.every"
      )
    shutil.rmtree(folder, ignore_errors=True)  # of an interrupted start
    averaging.average(
      str(run), str(folder), min(len(steps), variants.AVERAGED_CHECKPOINTS)
    )

  return Stage(
    f"average {run.name}",
    "average",
    1,
    lambda: orbax_checkpoint.is_finished(str(folder), config.train.steps),
    average,
  )


def _evaluation(
  config: Config, folder: Path, variant: Variant | None = None, oracle: bool = False
) -> Stage:
  """Returns the stage that evaluates a pre-training, or a variant of a run."""
  suffix = variant.file_suffix if variant else ""
  decoding = variant.decoding if variant else None
  split = pipeline.measured_split(config)

  def is_done() -> bool:
    if not orbax_checkpoint.is_finished(str(folder), config.train.steps):
      return False
    found = pipeline.evaluated(config, str(folder), split, suffix, oracle)
    return found is not None

  def evaluate() -> None:
    pipeline.evaluate(config, str(folder), split, decoding, suffix, oracle)
    if not suffix:
      write_report([folder], folder / "report")

  return Stage(
    f"evaluate {folder.name}{' as ' * bool(suffix)}{suffix}",
    "evaluate" if variant else "evaluate the pre-training",
    1,
    is_done,
    evaluate,
    lambda: _seconds(folder, "-".join(filter(None, ("evaluate", suffix)))),
  )


def _seconds(folder: Path, stage: str) -> float | None:
  return (read_object_if_present(folder / "timing.json") or {}).get(stage)
