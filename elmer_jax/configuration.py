# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Every key of a configuration, with its meaning, in one place.

A file in `configs/` calls `default()` and changes what differs. The command line
overrides single keys: `--config.data.batch_size=32`. `commands.resolution` makes the
configuration of a run from all of these. Each number has a range: those of the keys
`model.…` are in `model.config`, the others in `configuration_ranges`.
"""

import dataclasses
import re
from collections.abc import Callable

import ml_collections

from elmer_jax.configuration_ranges import RANGES
from elmer_jax.core.errors import UserError
from elmer_jax.core.paths import is_plain_name
from elmer_jax.core.ranges import check_ranges
from elmer_jax.model.config import ModelConfig


def default() -> ml_collections.ConfigDict:
  """Returns the configuration that all others start from."""
  config = ml_collections.ConfigDict()
  config.seed = 0
  # Weights to start from: the folder of another run, of one of its checkpoints or of
  # Hugging Face. They bring their sizes and their vocabulary. Empty: random weights.
  # A run always resumes from its own newest checkpoint where there is one.
  config.init_from = ""
  # Steps that are traced to WORKDIR/profile: "10", or "10:12" (12 included).
  config.profile = ""
  config.data = _data()
  config.model = _model()
  config.objective = _objective()
  config.optimizer = _optimizer()
  config.train = _train()
  config.log = _log()
  config.evaluate = _evaluate()
  config.checkpoint = _checkpoint()
  config.mesh = _mesh()
  return config


def comparison() -> ml_collections.ConfigDict:
  """Returns the configuration that all comparisons start from (`compare`).

  `pretrain` and `finetune` have the keys of `default`: for the run that all pre-trained
  rows start from, and for the rows. A row sets its seed, its objective and some more
  keys (`comparison.variants`).
  """
  config = ml_collections.ConfigDict()
  # Not used where finetune.init_from names the weights of the pre-trained rows.
  config.pretrain = default()
  config.finetune = default()
  config.finetune.objective.name = "last_layer"
  compare = ml_collections.ConfigDict()
  compare.rows = ""  # names of rows, separated by commas; empty: all
  compare.seeds = (0,)  # each row is trained once with each
  compare.resamples = 1000  # of the bootstrap
  compare.timed_calls = 20  # of each row and batch size; the median is reported
  config.compare = compare
  return config


def make_small(config: ml_collections.ConfigDict) -> None:
  """Sets sizes that two CPU cores train in minutes: 2 million parameters."""
  config.model.update({"encoder_layers": 3, "decoder_layers": 3, "d_model": 128})
  config.model.update({"encoder_heads": 4, "decoder_heads": 4})
  config.model.update({"encoder_feed_forward": 512, "decoder_feed_forward": 512})
  # For a short training: pre-norm is stable at higher learning rates.
  config.model.update({"norm": "pre", "positions": 128})
  config.model.init_stddev = config.model.d_model**-0.5


def _data() -> ml_collections.ConfigDict:
  data = ml_collections.ConfigDict()
  data.task = "pydocs_pretrain"  # a task or mixture of the seqio registries
  # Your own text or pairs, 'a.txt,b/*.jsonl.zst'; or the files of public tasks:
  # 'wikipedia_lplm=w/*.zst,books_lplm=b/*.zst'
  data.files = ""
  # Files of your own with which to validate and to test, in the forms of data.files.
  # Empty: about one text or source in 50 is held out for validation; no test split.
  data.validation_files = ""
  data.test_files = ""
  # Fields (JSON) or columns (TSV, CSV, Parquet) of your own files. A target may be a
  # list of texts: several references.
  data.text_field, data.source_field, data.target_field = "text", "source", "target"
  # Of your own files that are not UTF-8, and not UTF-16 with a byte order mark:
  # "latin-1", "cp1252", … Empty: bytes that are not UTF-8 are replaced.
  data.encoding = ""
  # JSONL of pairs that replace the training split, as `elmer_jax.distill` writes it.
  # Empty: the task's own.
  data.distilled = ""
  # Sampling rates of the parts of a mixture: 'wikipedia_lplm=1,books_lplm=2'.
  # Empty: those of the mixture; for books_wiki_lplm by tokens.
  data.rates = ""
  data.vocabulary = ""  # folder with vocab.json and merges.txt; empty: train one
  data.vocabulary_size = 4096  # of a vocabulary that is trained
  data.cache = ""  # folder of the prepared ids; empty: WORKDIR/cache
  data.source_length = 512  # tokens, BOS and EOS included
  # Objective lplm: tokens of a corrupted source, about 13/16 of `source_length`, which
  # saves padding; a corruption that is longer is drawn again. 0: `source_length`.
  data.corrupted_length = 0
  data.target_length = 512  # tokens, EOS included
  data.batch_size = 32  # sequences per step, over all processes
  data.num_workers = 1  # processes that prepare the cache in parallel; 0: one a core
  data.read_threads = 32  # examples that are read at the same time
  data.loader_workers = 0  # processes that make batches; 0: a thread of this process
  return data


def _model() -> ml_collections.ConfigDict:
  fields = dataclasses.asdict(ModelConfig())
  # The first is that of the loaded vocabulary, the others follow from the objective.
  for name in ("vocabulary_size", "soft_exit", "transition_heads", "transition_window"):
    del fields[name]
  return ml_collections.ConfigDict(fields)


def _objective() -> ml_collections.ConfigDict:
  objective = ml_collections.ConfigDict()
  # "lplm", "soft_exit", "hard_exit", "last_layer", "dag",
  # "masked_diffusion", "autoregressive"
  objective.name = "lplm"
  # Soft exit only: probability that the gold token replaces the prediction, and whether
  # this is done as in the published code, which leaks it.
  objective.gold_mixing = 0.3
  objective.published_mixing = False
  # Fine-tuning: share of each target's weight that is distributed over the vocabulary;
  # validation losses are without it. 0: off.
  objective.label_smoothing = 0.0
  # soft_exit, hard_exit, last_layer: glancing (GLAT). The number of tokens that a first
  # pass gets wrong, times this ratio, is revealed to the second pass. The ratio rises
  # from 0 over `glancing_ramp` steps. 0: off.
  objective.glancing = 0.0
  objective.glancing_ramp = 1000
  # Hard exit only: share of the rows whose tokens all run through all layers.
  objective.full_depth = 0.0
  # Share of the rows that lose positions after the text, as `calibrate --trim` does.
  objective.dropped = 0.0
  # Decoding with hard exit: a token exits at the first layer whose distribution has an
  # entropy, in nats, below this. `generate --threshold` overrides it.
  objective.exit_threshold = 0.5
  # dag only: decoder positions per target position; what happens between the layers
  # ("none", "soft" or "copies"); the weight of the lower layers' mean loss.
  objective.upsampling = 2.0
  objective.exits = "none"
  objective.layer_loss = 0.0
  # dag only: attention heads of the transitions, and the most positions that a path
  # may advance at once.
  objective.transition_heads = 4
  objective.transition_window = 32
  return objective


def _optimizer() -> ml_collections.ConfigDict:
  optimizer = ml_collections.ConfigDict()
  # "adamw", "adafactor" (hardly any memory for its state; it doesn't use b1, b2 and
  # eps), or "muon" (fewer steps for the same loss, each about 10 % slower)
  optimizer.name = "adamw"
  optimizer.learning_rate = 1e-3  # the peak
  optimizer.schedule = "cosine"  # "cosine", "inverse_sqrt" or "constant"
  optimizer.warmup_steps = 100
  optimizer.final_fraction = 0.1  # of the peak, where a cosine ends
  optimizer.b1 = 0.9
  optimizer.b2 = 0.98
  optimizer.eps = 1e-8
  optimizer.weight_decay = 0.01  # on matrices only
  optimizer.clip_norm = 1.0  # global norm of a step's gradient; 0: no clipping
  return optimizer


def _train() -> ml_collections.ConfigDict:
  train = ml_collections.ConfigDict()
  train.steps = 1000  # updates of the weights
  train.grad_accumulation_steps = 1  # micro-batches per step
  train.log_every = 50  # steps
  train.eval_every = 500  # steps
  train.eval_batches = 8  # of the validation split, always the same ones
  # Steps in a row that are not finite and skipped; where there are more, the run ends.
  train.max_bad_steps = 10
  train.patience = 0  # evaluations without a lower loss, which end the run; 0: never
  return train


def _log() -> ml_collections.ConfigDict:
  log = ml_collections.ConfigDict()
  # Project of Weights & Biases to which metrics are sent as well; empty: none.
  log.wandb = ""
  return log


def _evaluate() -> ml_collections.ConfigDict:
  evaluate = ml_collections.ConfigDict()
  # Fine-tuning: number of examples that are scored, sampled with a fixed seed, so that
  # they are the same for every run. 0: all.
  evaluate.examples = 0
  return evaluate


def _checkpoint() -> ml_collections.ConfigDict:
  checkpoint = ml_collections.ConfigDict()
  checkpoint.every = 500  # steps; the last step is always saved
  checkpoint.every_seconds = 0  # also after this time without a save; 0: never
  checkpoint.max_to_keep = 2  # the newest ones
  checkpoint.keep_every = 0  # multiples of this step are kept for good; 0: none
  # Save wherever the validation loss is the lowest so far, and keep that: --which=best.
  checkpoint.keep_best = False
  return checkpoint


def _mesh() -> ml_collections.ConfigDict:
  mesh = ml_collections.ConfigDict()
  mesh.data = -1  # -1: all remaining devices
  mesh.fsdp = 1
  mesh.tensor = 1
  # TPU slices, connected by the data-centre network, that the data axis spans.
  mesh.slices = 1
  # Mesh axes that each logical axis of the model is sharded over, separated by commas;
  # empty: none. The rows of a batch are sharded over data and fsdp.
  mesh.rules = ml_collections.ConfigDict(
    {
      "vocab": "tensor",
      "heads": "tensor",
      "mlp": "tensor",
      "embed": "fsdp",
      "norm": "",
    }
  )
  return mesh


# Keys that may change between the starts of one run: where it runs, how often it
# logs and how far it goes. All others define what the run computes.
MAY_CHANGE = (
  "mesh.",
  "checkpoint.",
  "evaluate.",
  "log.",
  "profile",
  "train.steps",
  "train.log_every",
  "train.eval_every",
  "train.max_bad_steps",
  "train.patience",
  "data.cache",
  "data.test_files",
  "data.num_workers",
  "data.read_threads",
  "data.loader_workers",
)

# Keys that were renamed, and their new names.
RENAMED = {
  "train.accumulation": "train.grad_accumulation_steps",
  "checkpoint.keep": "checkpoint.max_to_keep",
  "data.processes": "data.num_workers",
}

# Keys that hold one path.
PATHS = ("init_from", "data.cache", "data.distilled", "data.vocabulary")

# Values of data.task that stand for the user's own text or pairs.
OWN_TASKS = ("text_lplm", "text_pairs")


@dataclasses.dataclass(frozen=True)
class Schema:
  """A kind of configuration.

  Attributes:
    default: returns all keys with their default values.
    may_change: prefixes of the keys that may change between the starts of a run.
    runs: prefixes of the keys of a run: "" for a run's own configuration.
  """

  default: Callable[[], ml_collections.ConfigDict]
  may_change: tuple[str, ...]
  runs: tuple[str, ...]


RUN = Schema(default, MAY_CHANGE, ("",))
COMPARISON = Schema(
  comparison,
  (
    "compare.",
    *(
      f"{part}.{key}"
      for part in ("pretrain", "finetune")
      for key in MAY_CHANGE
      if key != "train.steps"  # all rows are trained for the same number of steps
    ),
  ),
  ("pretrain.", "finetune."),
)


def check(config: ml_collections.ConfigDict, prefix: str = "") -> None:
  """Raises `UserError` for values that can't be used.

  Args:
    config: of a run.
    prefix: of its keys, for messages about a part of a comparison.
  """
  check_ranges(flat_keys(config), RANGES, prefix)
  model_config(config, config.data.vocabulary_size)
  longest = max(config.data.source_length, config.data.target_length)
  if longest > config.model.positions:
    where = f" of init_from={config.init_from}" if config.init_from else ""
    raise UserError(
      f"data.source_length {config.data.source_length} and data.target_length "
      f"{config.data.target_length} must not exceed model.positions "
      f"({config.model.positions}){where}: shorten them"
      + ("" if where else " or raise model.positions")
    )
  vertices = decoder_positions(config)
  if vertices > config.model.positions:  # with the objective dag alone
    raise UserError(
      f"objective.upsampling {config.objective.upsampling:g} × data.target_length "
      f"{config.data.target_length} is {vertices} decoder positions; model.positions "
      f"has {config.model.positions}: shorten the target or lower objective.upsampling"
    )
  corrupted, source = config.data.corrupted_length, config.data.source_length
  if corrupted and not 0.8 * source <= corrupted <= source:
    fits = f"0 or from 4/5 of data.source_length ({source}) to all of it"
    raise UserError(f"{prefix}data.corrupted_length must be {fits}; it is {corrupted}")
  if not is_plain_name(config.data.task):
    raise UserError(
      f"data.task={config.data.task} must be the name of a task, without any path"
    )
  profiled_steps(config)
  batch, parts = config.data.batch_size, config.train.grad_accumulation_steps
  if batch % parts:
    raise UserError(
      f"train.grad_accumulation_steps {parts} must divide data.batch_size {batch}"
    )


def profiled_steps(config: ml_collections.ConfigDict) -> range:
  """Returns the steps that `config.profile` names; none if it is empty.

  Raises:
    UserError: it can't be parsed, or the run has no such steps.
  """
  if not config.profile:
    return range(0)
  match = re.fullmatch(r"(\d{1,9})(?::(\d{1,9}))?", config.profile)
  first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
  if not 1 <= first <= last <= config.train.steps:
    raise UserError(
      f"profile={config.profile!r} must be steps from 1 to train.steps "
      f"({config.train.steps}): '10', or '10:12'"
    )
  return range(first, last + 1)


def flat_keys(config: ml_collections.ConfigDict | None) -> dict[str, object]:
  """Returns {"data.batch_size": 16, ...}, the leaves of a configuration."""
  flat = {}
  for key, value in (config or {}).items():
    if isinstance(value, ml_collections.ConfigDict):
      flat |= {f"{key}.{inner}": leaf for inner, leaf in flat_keys(value).items()}
    else:
      flat[key] = value
  return flat


def encoder_positions(config: ml_collections.ConfigDict) -> int:
  """Returns the number of encoder positions S of a row."""
  is_corrupted = config.objective.name == "lplm"
  return is_corrupted and config.data.corrupted_length or config.data.source_length


def decoder_positions(config: ml_collections.ConfigDict) -> int:
  """Returns P, the positions that the decoder predicts in one pass."""
  factor = config.objective.upsampling if config.objective.name == "dag" else 1
  return round(factor * config.data.target_length)


def model_config(
  config: ml_collections.ConfigDict, vocabulary_size: int
) -> ModelConfig:
  """Returns the model's configuration for a vocabulary of `vocabulary_size` ids."""
  sizes, objective = config.model.to_dict(), config.objective
  if objective.name == "dag":
    sizes["transition_heads"] = objective.transition_heads
    sizes["transition_window"] = objective.transition_window
  projects = objective.name == "dag" and objective.exits == "soft"
  return ModelConfig(
    vocabulary_size=vocabulary_size,
    soft_exit=objective.name == "soft_exit" or projects,
    **sizes,
  )
