# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The variants that a comparison has as rows: what is trained, and how it is decoded.

A variant is a start, configuration keys that differ from `finetune`, and a decoding
strategy. Everything else is the same for all: data, batches and, except in rows that
equal the compute of a costlier objective, the number of steps.
"""

import dataclasses
import difflib
from collections.abc import Mapping

import ml_collections

from elmer_jax.configuration import flat_keys
from elmer_jax.core.errors import UserError
from elmer_jax.decoding.strategies import (
  Autoregressive,
  DagLookahead,
  MaskPredict,
  Strategy,
)

# Compute of a step of `dag` with two vertices a token over one of `last_layer`; see
# docs/results/dag.md.
DAG_COMPUTE = 1.5

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
    decoding: the decoding strategy; None: the one the model was trained for.
    distilled: whether the training targets are outputs of the autoregressive variant.
    averaged: whether the weights are the mean of the run's last checkpoints.
    steps_ratio: its number of steps, relative to `finetune`.
    oracle: whether the decoder is given the length of each reference.
    trained_by: the variant whose run this one decodes; by default its own.
    baseline: the variant that this one differs from in one thing, to compare with.
  """

  name: str
  label: str
  pretrained: bool = True
  overrides: Mapping[str, object] = dataclasses.field(default_factory=dict)
  decoding: Strategy | None = None
  distilled: bool = False
  averaged: bool = False
  steps_ratio: float = 1.0
  oracle: bool = False
  trained_by: str = ""
  baseline: str = ""

  @property
  def run_name(self) -> str:
    """The name of the variant whose run this one decodes."""
    return self.trained_by or self.name

  @property
  def file_suffix(self) -> str:
    """Marks the files of its evaluation; "" with the default decoding."""
    return self.name if self.decoding else ""

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
# Without rows of their own from random weights.
_GRAPH, _MASKED = "dag_pretrained", "masked_pretrained"
_OTHERS = {"dag": ("DAG", "dag"), "masked": ("Masked diffusion", "masked_diffusion")}
GREEDY, BEAM = "ar_pretrained", "ar_pretrained_beam4"
_PLAIN, _SOFT = "plain_pretrained", "soft_pretrained"


def _main_variants(start: str) -> list[Variant]:
  return [
    Variant(f"{method}_{start}", label, start == "pretrained", {"objective.name": name})
    for method, (label, name) in _METHODS.items()
  ]


def _option(name: str, label: str, base: str = _PLAIN, **changes) -> Variant:
  """Returns the variant `base` with changes."""
  method, objective = (_METHODS | _OTHERS)[base.partition("_")[0]]
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
      decoding=Autoregressive(beams=4),
      trained_by=GREEDY,
      baseline=GREEDY,
    ),
    Variant(_GRAPH, "DAG", overrides={"objective.name": "dag"}, baseline=_PLAIN),
    _option("soft", "soft exit", _GRAPH, overrides={"objective.exits": "soft"}),
    _option("copies", "LPLM copies", _GRAPH, overrides={"objective.exits": "copies"}),
    _option(
      "lookahead", "lookahead", _GRAPH, decoding=DagLookahead(), trained_by=_GRAPH
    ),
    Variant(
      _MASKED,
      "Masked diffusion, 4 passes",
      overrides={"objective.name": "masked_diffusion"},
      baseline=_PLAIN,
    ),
    _option("one", "1 pass", _MASKED, decoding=MaskPredict(1), trained_by=_MASKED),
    _option("longer", "1.5 × the steps", steps_ratio=DAG_COMPUTE),
    _option("longer", "1.5 × the steps", GREEDY, steps_ratio=DAG_COMPUTE),
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
  Claim("DAG ≥ plain NAR (pre-trained)", _GRAPH, _PLAIN),
  Claim("DAG ≥ plain NAR of equal compute (pre-trained)", _GRAPH, f"{_PLAIN}_longer"),
  Claim("DAG ≥ autoregressive (pre-trained)", _GRAPH, GREEDY),
  Claim(
    "DAG ≥ autoregressive of equal compute (pre-trained)", _GRAPH, f"{GREEDY}_longer"
  ),
  Claim("DAG + soft exit ≥ DAG (pre-trained)", f"{_GRAPH}_soft", _GRAPH),
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
  config.train.steps = round(run.steps_ratio * config.train.steps)
  if any(other.averaged and other.run_name == run.name for other in VARIANTS.values()):
    keep = max(config.checkpoint.max_to_keep, AVERAGED_CHECKPOINTS)
    config.checkpoint.max_to_keep = keep
  return config
