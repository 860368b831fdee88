# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The runs that the variants decode: their configurations and folders.

DIR/prepared/              vocabulary, caches, distilled pairs
DIR/runs/pretrain/         the run that the pre-trained variants start from
DIR/runs/NAME-seedN/       the run of a variant
DIR/runs/NAME-seedN-mean/  the mean of its last checkpoints
DIR/compare/               latency.json, table.json, table.md, index.html
"""

from pathlib import Path

import ml_collections

from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.commands import pipeline
from elmer_jax.comparison import variants
from elmer_jax.comparison.results import Evaluation
from elmer_jax.comparison.variants import Variant
from elmer_jax.core import json_files
from elmer_jax.evaluation import samples

Config = ml_collections.ConfigDict


class ComparisonPaths:
  """The files of a comparison under the folder `root`."""

  def __init__(self, config: Config, root: Path):
    self._config = config
    self.root = root
    self.prepared = root / "prepared"
    self.latency = root / "compare" / "latency.json"
    self.table = root / "compare" / "table.json"
    self.page = root / "compare" / "index.html"

  def part(self, name: str) -> Config:
    """Returns a part of the configuration, with the data paths that its runs share."""
    config = Config(self._config[name].to_dict())
    config.data.cache = config.data.cache or str(self.prepared / name)
    vocabulary = self.given_vocabulary() or str(self.prepared / "vocabulary")
    config.data.vocabulary = vocabulary
    return config

  def given_vocabulary(self) -> str:
    """Returns the folder of an existing vocabulary, "" where one must be trained."""
    both = self._config.finetune, self._config.pretrain
    for part in both:
      if part.data.vocabulary:
        return part.data.vocabulary
    init_from = both[0].init_from
    return str(orbax_checkpoint.vocabulary_folder(init_from)) if init_from else ""

  def pretraining(self) -> tuple[Config, Path]:
    """Returns configuration and folder of the pre-training."""
    return self.part("pretrain"), self.root / "runs" / "pretrain"

  def run(self, variant: Variant, seed: int) -> tuple[Config, Path]:
    """Returns configuration and folder of the run that a variant decodes."""
    finetune = self.part("finetune")
    finetune.init_from = finetune.init_from or str(self.pretraining()[1])
    config = variants.run_config(variant, finetune, seed)
    if variants.VARIANTS[variant.run_name].distilled:
      config.data.distilled = str(self.distilled(seed))
      config.data.cache = str(self.distilled(seed).with_suffix(""))
    return config, self.root / "runs" / f"{variant.run_name}-seed{seed}"

  def distilled(self, seed: int) -> Path:
    """Returns the file of the pairs that the autoregressive variant generated."""
    return self.prepared / f"distilled-seed{seed}.jsonl"

  def weights(self, variant: Variant, seed: int) -> tuple[Config, Path]:
    """Returns the configuration and folder of the weights that a variant decodes."""
    config, folder = self.run(variant, seed)
    averaged = folder.with_name(f"{folder.name}-mean")
    return config, averaged if variant.averaged else folder

  def evaluated_step(self, variant: Variant, seed: int) -> int | None:
    """Returns the step at which a variant was evaluated, None if it wasn't yet."""
    config, folder = self.weights(variant, seed)
    if not orbax_checkpoint.is_finished(str(folder), config.train.steps):
      return None
    found = pipeline.evaluated(
      config,
      str(folder),
      pipeline.measured_split(config),
      variant.file_suffix,
      variant.oracle,
    )
    return found and found["checkpoint_step"]

  def evaluation(self, variant: Variant, seed: int) -> Evaluation:
    """Reads the evaluation of a variant."""
    config, folder = self.weights(variant, seed)
    split = pipeline.measured_split(config)
    path = pipeline.result_path(config, str(folder), split, variant.file_suffix)
    lines = json_files.read_lines(pipeline.predictions_path(path))
    fields = {"samples": list, "systems": dict}
    evaluation = Evaluation(samples.read_results(path, fields), list(lines))
    return evaluation.with_oracle() if variant.oracle else evaluation
