# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The runs behind the rows: their configurations, and where everything lies.

DIR/prepared/              vocabulary, caches, distilled pairs
DIR/runs/pretrain/         the run that the pre-trained rows start from
DIR/runs/NAME-seedN/       the run of a row
DIR/runs/NAME-seedN-mean/  the mean of its last checkpoints
DIR/compare/               latency.json, table.json, table.md, index.html
"""

import json
from pathlib import Path

import ml_collections

from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.commands import pipeline
from elmer_jax.comparison import variants
from elmer_jax.comparison.results import Measured
from elmer_jax.comparison.variants import Row

Config = ml_collections.ConfigDict


class Places:
  """Where a comparison leaves what, under the folder `root`."""

  def __init__(self, config: Config, root: Path):
    self._config = config
    self.root = root
    self.prepared = root / "prepared"
    self.latency = root / "compare" / "latency.json"
    self.table = root / "compare" / "table.json"
    self.page = root / "compare" / "index.html"

  def part(self, name: str) -> Config:
    """Returns a part of the configuration, with where all its runs find their data."""
    config = Config(self._config[name].to_dict())
    config.data.cache = config.data.cache or str(self.prepared / name)
    vocabulary = self.given_vocabulary() or str(self.prepared / "vocabulary")
    config.data.vocabulary = vocabulary
    return config

  def given_vocabulary(self) -> str:
    """Returns the folder of the vocabulary, "" where it is to be made."""
    both = self._config.finetune, self._config.pretrain
    for part in both:
      if part.data.vocabulary:
        return part.data.vocabulary
    init_from = both[0].init_from
    return str(orbax_checkpoint.vocabulary_folder(init_from)) if init_from else ""

  def pretraining(self) -> tuple[Config, Path]:
    """Returns configuration and folder of the run that pre-trained rows start from."""
    return self.part("pretrain"), self.root / "runs" / "pretrain"

  def run(self, row: Row, seed: int) -> tuple[Config, Path]:
    """Returns configuration and folder of the run that a row reads."""
    finetune = self.part("finetune")
    finetune.init_from = finetune.init_from or str(self.pretraining()[1])
    config = variants.configured(row, finetune, seed)
    if variants.ROWS[row.trained].distilled:
      config.data.distilled = str(self.distilled(seed))
      config.data.cache = str(self.distilled(seed).with_suffix(""))
    return config, self.root / "runs" / f"{row.trained}-seed{seed}"

  def distilled(self, seed: int) -> Path:
    """Returns the file of the pairs that the autoregressive row has written."""
    return self.prepared / f"distilled-seed{seed}.jsonl"

  def weights(self, row: Row, seed: int) -> tuple[Config, Path]:
    """Returns the configuration and the folder with the weights that a row decodes."""
    config, folder = self.run(row, seed)
    return config, folder.with_name(f"{folder.name}-mean") if row.averaged else folder

  def measured_at(self, row: Row, seed: int) -> int | None:
    """Returns the update at which a row was evaluated, None if it wasn't yet."""
    config, folder = self.weights(row, seed)
    if not orbax_checkpoint.is_finished(str(folder), config.train.steps):
      return None
    split = pipeline.measured_split(config)
    found = pipeline.evaluated(config, str(folder), split, row.variant, row.oracle)
    return found and found["checkpoint_step"]

  def measured(self, row: Row, seed: int) -> Measured:
    """Reads what the evaluation of a row found."""
    config, folder = self.weights(row, seed)
    split = pipeline.measured_split(config)
    path = pipeline.result_path(config, str(folder), split, row.variant)
    lines = pipeline.predictions_path(path).read_text("utf-8").splitlines()
    measured = Measured(
      json.loads(path.read_text()), [json.loads(line) for line in lines]
    )
    return measured.with_oracle() if row.oracle else measured
