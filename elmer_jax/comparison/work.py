# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What a comparison has to do, stage by stage, and where it leaves what.

DIR/prepared/         vocabulary, and the caches of both parts of the configuration
DIR/runs/pretrain/    the run that the pre-trained rows start from
DIR/runs/NAME-seedN/  the run of a row
DIR/compare/          latency.json, table.json, table.md, index.html
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import jax
import ml_collections

from elmer_jax import api, compilation, configuration, stages
from elmer_jax.comparison import page, results, rows, table
from elmer_jax.comparison.progress import Stage
from elmer_jax.comparison.results import Measured
from elmer_jax.comparison.rows import Row
from elmer_jax.data import prepared
from elmer_jax.errors import UserError
from elmer_jax.evaluation import baselines, latency
from elmer_jax.evaluation.report import write_report
from elmer_jax.files import write_whole
from elmer_jax.prepare import prepare
from elmer_jax.training import checkpoint


class Work:
  """A comparison in its folder.

  Attributes:
    table: where the tables stand as Markdown.
    page: where the page stands.
  """

  def __init__(self, config: ml_collections.ConfigDict, workdir: Path):
    """Takes a configuration as `configuration.comparison` has it.

    Raises:
      UserError: it names rows that there are not.
    """
    self._config = config
    self._workdir = workdir
    self._rows = rows.chosen(config.compare.rows)
    self._seeds = tuple(config.compare.seeds)
    self.table = workdir / "compare" / "table.md"
    self.page = workdir / "compare" / "index.html"

  def check(self) -> None:
    """Raises `UserError` for what no comparison can be made of."""
    config = self._config
    for part in (config.pretrain, config.finetune):
      configuration.check(part)
    if config.pretrain.objective.name != "lplm":
      raise UserError(
        f"pretrain.objective.name is {config.pretrain.objective.name!r}, not lplm"
      )
    if not self._seeds:
      raise UserError("compare.seeds is empty: name at least one, as in '(0,)'")
    for key, least in (("resamples", 100), ("timed_calls", 1)):
      if config.compare[key] < least:
        raise UserError(f"compare.{key} must be at least {least}")

  def stages(self) -> list[Stage]:
    """Returns all there is to do, in order."""
    work = [
      Stage("prepare", "prepare", 1, self._is_prepared, self._prepare, lambda: None)
    ]
    if self._pretrains:
      config, folder = self._pretraining()
      work += [_training(config, folder), _evaluation(config, folder)]
    for seed in self._seeds:
      for name in dict.fromkeys(row.trained for row in self._rows):
        work.append(_training(*self._run(rows.ROWS[name], seed)))
        work += [
          _evaluation(*self._run(row, seed), row)
          for row in self._rows
          if row.trained == name
        ]
    return [
      *work,
      Stage("measure times", "time", 1, self._is_timed, self._time, lambda: None),
      Stage("write the tables", "tell", 1, self._is_told, self._tell, lambda: None),
    ]

  @property
  def _pretrains(self) -> bool:
    """Whether a pre-training is part of the comparison."""
    wanted = any(row.pretrained for row in self._rows)
    return wanted and not self._config.finetune.init_from

  def _pretraining(self) -> tuple[ml_collections.ConfigDict, Path]:
    return self._part("pretrain"), self._workdir / "runs" / "pretrain"

  def _run(self, row: Row, seed: int) -> tuple[ml_collections.ConfigDict, Path]:
    """Returns the configuration and the folder of the run behind a row."""
    finetune = self._part("finetune")
    finetune.init_from = finetune.init_from or str(self._pretraining()[1])
    config = rows.configured(row, finetune, seed)
    return config, self._workdir / "runs" / f"{row.trained}-seed{seed}"

  def _part(self, name: str) -> ml_collections.ConfigDict:
    """Returns a part of the configuration, with where all its runs find their data."""
    config = ml_collections.ConfigDict(self._config[name].to_dict())
    folder = self._workdir / "prepared"
    config.data.cache = config.data.cache or str(folder / name)
    config.data.vocabulary = self._given_vocabulary() or str(folder / "vocabulary")
    return config

  def _given_vocabulary(self) -> str:
    """Returns the folder of the vocabulary, "" where it is to be made."""
    both = self._config.finetune, self._config.pretrain
    for part in both:
      if part.data.vocabulary:
        return part.data.vocabulary
    init_from = both[0].init_from
    return str(checkpoint.vocabulary_of(init_from)) if init_from else ""

  def _prepared_parts(self) -> list[ml_collections.ConfigDict]:
    """Returns the parts that are trained on; a vocabulary is made of the first."""
    names = ["pretrain", "finetune"] if self._pretrains else ["finetune"]
    return [self._part(name) for name in names]

  def _is_prepared(self) -> bool:
    parts = self._prepared_parts()
    return all(prepared.read_parts(part, str(self._workdir)) for part in parts)

  def _prepare(self) -> None:
    for part in self._prepared_parts():
      part.data.vocabulary = self._given_vocabulary()
      prepare(part, str(self._workdir / "prepared"))

  def _measured_at(self, row: Row, seed: int) -> int | None:
    """Returns the update at which a row was evaluated, None if it wasn't yet."""
    config, folder = self._run(row, seed)
    if not checkpoint.is_finished(str(folder), config.train.steps):
      return None
    split = stages.measured_split(config)
    found = stages.evaluated(config, str(folder), split, row.variant)
    return found and found["checkpoint_step"]

  def _measured(self, row: Row, seed: int) -> Measured:
    config, folder = self._run(row, seed)
    split = stages.measured_split(config)
    path = stages.result_path(config, str(folder), split, row.variant)
    lines = stages.predictions_path(path).read_text("utf-8").splitlines()
    return Measured(json.loads(path.read_text()), [json.loads(line) for line in lines])

  # What is timed and told anew once a row is added or trained further.

  @property
  def _latency(self) -> Path:
    return self.table.with_name("latency.json")

  def _timed(self) -> dict:
    return {
      "calls": self._config.compare.timed_calls,
      "updates": {
        row.name: self._measured_at(row, self._seeds[0]) for row in self._rows
      },
    }

  def _told(self) -> dict:
    return {
      "timed": self._timed(),
      "resamples": self._config.compare.resamples,
      "updates": {
        row.name: {str(seed): self._measured_at(row, seed) for seed in self._seeds}
        for row in self._rows
      },
    }

  def _is_timed(self) -> bool:
    return _made_of(self._latency) == self._timed()

  def _is_told(self) -> bool:
    return _made_of(self.table.with_suffix(".json")) == self._told()

  def _time(self) -> None:
    compilation.cache_programs()
    seed = self._seeds[0]
    models = {}
    for row in self._rows:
      if row.trained not in models:
        models[row.trained] = api.load(str(self._run(row, seed)[1]))
    writers = {
      row.name: latency.Writer(models[row.trained], row.settings) for row in self._rows
    }
    calls = self._config.compare.timed_calls
    lines = self._measured(self._rows[0], seed).predictions
    sources = baselines.spread(
      [line["source"] for line in lines], calls * max(latency.BATCHES)
    )
    found = {
      "made_of": self._timed(),
      "device": jax.devices()[0].device_kind,
      "cores": len(os.sched_getaffinity(0)),
      "jax": jax.__version__,
      "seconds": latency.measure(writers, sources, calls),
    }
    write_whole(self._latency, json.dumps(found, indent=1) + "\n")

  def _tell(self) -> None:
    timed = json.loads(self._latency.read_text())
    measured = {
      row: {seed: self._measured(row, seed) for seed in self._seeds}
      for row in self._rows
    }
    found = results.collect(measured, timed["seconds"], self._config.compare.resamples)
    machine = {name: timed[name] for name in ("device", "cores", "jax")}
    content = {"made_of": self._told(), "machine": machine, **found}
    samples = {
      row.name: by_seed[self._seeds[0]].found["samples"]
      for row, by_seed in measured.items()
    }
    write_whole(self.page, page.page(content, samples))
    write_whole(self.table, "\n".join(self._tables(found)))
    write_whole(self.table.with_suffix(".json"), json.dumps(content, indent=1) + "\n")

  def _tables(self, found: dict) -> Iterator[str]:
    yield table.markdown(table.main_table(found))
    if found["claims"]:
      yield table.markdown(table.claims_table(found))
    if found["differences"]:
      yield table.markdown(table.differences_table(found))


def _made_of(path: Path) -> dict | None:
  return json.loads(path.read_text())["made_of"] if path.exists() else None


def _training(config: ml_collections.ConfigDict, folder: Path) -> Stage:
  """Returns the stage that trains a run."""
  tokens = config.data.batch_size * (
    config.data.source_length + config.data.target_length
  )
  return Stage(
    f"train {folder.name}",
    "train",
    config.train.steps * tokens,
    lambda: checkpoint.is_finished(str(folder), config.train.steps),
    lambda: stages.train(config, str(folder)),
    lambda: _seconds(folder, "train"),
  )


def _evaluation(
  config: ml_collections.ConfigDict, folder: Path, row: Row | None = None
) -> Stage:
  """Returns the stage that evaluates a run: as it is, or as `row` decodes it."""
  variant = row.variant if row else ""
  settings = row.settings if row else {}

  def is_done() -> bool:
    if not checkpoint.is_finished(str(folder), config.train.steps):
      return False
    split = stages.measured_split(config)
    return stages.evaluated(config, str(folder), split, variant) is not None

  def evaluate() -> None:
    stages.evaluate(config, str(folder), settings=settings, variant=variant)
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
