# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The variants that a comparison has as rows: what is trained, and how it is decoded.

A variant is a start, configuration keys that differ from `finetune`, and settings of
`api.generate`. Everything else is the same for all: data, batches, number of steps.
"""

import dataclasses
import difflib
from collections.abc import Mapping

import ml_collections

from elmer_jax.configuration import flat_keys
from elmer_jax.core.errors import UserError
from elmer_jax.decoding.incremental import Search

STARTS = {"pretrained": "pre-trained", "random": "random start"}
AVERAGED_CHECKPOINTS = 5  # the last ones


@dataclasses.dataclass(frozen=True, eq=False)
class Variant:
  """One row of a comparison.

  Attributes:
    name: for files and --config.compare.rows.
    label: for people.
    pretrained: whether it starts from the pre-trained weights, else from random ones.
    overrides: keys of `finetune` whose values differ.
    settings: keyword arguments of `api.generate` that differ.
    distilled: whether the training targets are outputs of the autoregressive variant.
    averaged: whether the weights are the mean of the run's last checkpoints.
    oracle: whether the decoder is given the length of each reference.
    trained_by: the variant whose run this one decodes; by default its own.
    baseline: the variant that this one differs from in one thing, to compare with.
  """

  name: str
  label: str
  pretrained: bool = True
  overrides: Mapping[str, object] = dataclasses.field(default_factory=dict)
  settings: Mapping[str, object] = dataclasses.field(default_factory=dict)
  distilled: bool = False
  averaged: bool = False
  oracle: bool = False
  trained_by: str = ""
  baseline: str = ""

  @property
  def run_name(self) -> str:
    """The name of the variant whose run this one decodes."""
    return self.trained_by or self.name

  @property
  def file_suffix(self) -> str:
    """Marks the files of its evaluation; "" with the default settings."""
    return self.name if self.settings else ""

  @property
  def start(self) -> str:
    return "pretrained" if self.pretrained else "random"


@dataclasses.dataclass(frozen=True)
class Claim:
  """The claim that one variant scores at least as high as another."""

  text: str
  better: str
  worse: str


_METHODS = {
  "ar": ("Autoregressive, greedy", "autoregressive"),
  "plain": ("Plain NAR", "last_layer"),
  "hard": ("ELMER, hard exit", "hard_exit"),
  "soft": ("ELMER, soft exit", "soft_exit"),
}
GREEDY, BEAM = "ar_pretrained", "ar_pretrained_beam4"
_PLAIN, _SOFT = "plain_pretrained", "soft_pretrained"


def _main_variants(start: str) -> list[Variant]:
  return [
    Variant(f"{method}_{start}", label, start == "pretrained", {"objective.name": name})
    for method, (label, name) in _METHODS.items()
  ]


def _option(name: str, label: str, base: str = _PLAIN, **changes) -> Variant:
  """Returns the variant `base` with changes."""
  method, objective = _METHODS[base.partition("_")[0]]
  if "trained_by" not in changes:
    overrides = changes.get("overrides", {})
    changes["overrides"] = {"objective.name": objective, **overrides}
  return Variant(f"{base}_{name}", f"{method} + {label}", baseline=base, **changes)


_SMOOTHING = {"objective.label_smoothing": 0.1}
_GLANCING = {"objective.glancing": 0.5}
_ALL = {
  "overrides": _SMOOTHING | _GLANCING,
  "distilled": True,
  "averaged": True,
}

VARIANTS = {
  variant.name: variant
  for variant in (
    *_main_variants("pretrained"),
    *_main_variants("random"),
    Variant(
      BEAM,
      "Autoregressive, beam 4",
      settings={"search": Search(beams=4)},
      trained_by=GREEDY,
      baseline=GREEDY,
    ),
    _option("smoothing", "label smoothing", overrides=_SMOOTHING),
    _option("glancing", "glancing", overrides=_GLANCING),
    _option("distilled", "distillation", distilled=True),
    _option("averaged", "averaging", averaged=True, trained_by=_PLAIN),
    _option("all", "all four", **_ALL),
    _option("all", "all four", _SOFT, **_ALL),
    _option("oracle", "length oracle", oracle=True, trained_by=_PLAIN),
    _option("oracle", "length oracle", _SOFT, oracle=True, trained_by=_SOFT),
  )
}

# Claims of the paper: within each start, and between the starts.
CLAIMS = (
  *(
    Claim(f"{ours} ≥ {theirs} ({words})", f"{better}_{start}", f"{worse}_{start}")
    for start, words in STARTS.items()
    for better, ours, worse, theirs in (
      ("soft", "soft exit", "hard", "hard exit"),
      ("hard", "hard exit", "plain", "plain NAR"),
      ("soft", "soft exit", "plain", "plain NAR"),
    )
  ),
  *(
    Claim(f"pre-trained ≥ random ({label})", f"{method}_pretrained", f"{method}_random")
    for method, (label, _) in _METHODS.items()
  ),
)


def select(names: str) -> list[Variant]:
  """Returns the variants with these names, by commas, in order; "" means all.

  A variant that decodes another one's weights brings that one's run, not its row.

  Raises:
    UserError: there is no such variant.
  """
  wanted = [name.strip() for name in names.split(",") if name.strip()]
  for name in wanted:
    if name not in VARIANTS:
      [near] = difflib.get_close_matches(name, VARIANTS, n=1, cutoff=0)
      raise UserError(f"compare.rows: there is no row {name!r}. Did you mean {near!r}?")
  return [variant for name, variant in VARIANTS.items() if not wanted or name in wanted]


def run_config(
  variant: Variant, finetune: ml_collections.ConfigDict, seed: int
) -> ml_collections.ConfigDict:
  """Returns the configuration of the run that a variant decodes."""
  config = ml_collections.ConfigDict(finetune.to_dict())
  run = VARIANTS[variant.run_name]
  config.seed = seed
  if not run.pretrained:
    config.init_from = ""
  if unknown := run.overrides.keys() - flat_keys(config).keys():
    raise UserError(f"row {run.name} sets {unknown.pop()!r}, which is not a key")
  config.update_from_flattened_dict(dict(run.overrides))
  if any(other.averaged and other.run_name == run.name for other in VARIANTS.values()):
    keep = max(config.checkpoint.max_to_keep, AVERAGED_CHECKPOINTS)
    config.checkpoint.max_to_keep = keep
  return config
