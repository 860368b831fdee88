# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of a comparison, as data: what is trained, and how it is decoded.

A row is a start, configuration keys that differ from `finetune`, and settings of
`api.generate`. All else is the same for all rows: data, batches, number of updates.
"""

import dataclasses
import difflib
from collections.abc import Mapping

import ml_collections

from elmer_jax.configuration import flat_keys
from elmer_jax.core.errors import UserError
from elmer_jax.decoding.incremental import Search

STARTS = {"pretrained": "pre-trained", "random": "random start"}
AVERAGED = 5  # of the last checkpoints


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
  """One row.

  Attributes:
    name: for files and --config.compare.rows.
    label: for people.
    pretrained: whether it starts from the pre-trained weights, else from random ones.
    keys: of `finetune` with their values, where they differ.
    settings: keyword arguments of `api.generate`, where they differ.
    distilled: whether the targets are what the autoregressive row has written.
    averaged: whether the weights are the mean of the run's last checkpoints.
    oracle: whether the decoder was told the length of each reference.
    of: the row whose run this one reads; by default it has its own.
    beside: the row from which this one differs; their difference is told.
  """

  name: str
  label: str
  pretrained: bool = True
  keys: Mapping[str, object] = dataclasses.field(default_factory=dict)
  settings: Mapping[str, object] = dataclasses.field(default_factory=dict)
  distilled: bool = False
  averaged: bool = False
  oracle: bool = False
  of: str = ""
  beside: str = ""

  @property
  def trained(self) -> str:
    """The name of the row that is trained for this one."""
    return self.of or self.name

  @property
  def variant(self) -> str:
    """What the files of its evaluation are called by; "" where it is the default."""
    return self.name if self.settings else ""

  @property
  def start(self) -> str:
    return "pretrained" if self.pretrained else "random"


@dataclasses.dataclass(frozen=True)
class Claim:
  """That one row scores at least what another one does."""

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


def _main_rows(start: str) -> list[Row]:
  return [
    Row(f"{method}_{start}", label, start == "pretrained", {"objective.name": name})
    for method, (label, name) in _METHODS.items()
  ]


def _option(name: str, label: str, base: str = _PLAIN, **others) -> Row:
  """Returns a row that adds to another one what `others` say."""
  method, objective = _METHODS[base.partition("_")[0]]
  if "of" not in others:
    others["keys"] = {"objective.name": objective, **others.get("keys", {})}
  return Row(f"{base}_{name}", f"{method} + {label}", beside=base, **others)


_SMOOTHING = {"objective.label_smoothing": 0.1}
_GLANCING = {"objective.glancing": 0.5}
_ALL = {
  "keys": _SMOOTHING | _GLANCING,
  "distilled": True,
  "averaged": True,
}

ROWS = {
  row.name: row
  for row in (
    *_main_rows("pretrained"),
    *_main_rows("random"),
    Row(
      BEAM,
      "Autoregressive, beam 4",
      settings={"search": Search(beams=4)},
      of=GREEDY,
      beside=GREEDY,
    ),
    _option("smoothing", "label smoothing", keys=_SMOOTHING),
    _option("glancing", "glancing", keys=_GLANCING),
    _option("distilled", "distillation", distilled=True),
    _option("averaged", "averaging", averaged=True, of=_PLAIN),
    _option("all", "all four", **_ALL),
    _option("all", "all four", _SOFT, **_ALL),
    _option("oracle", "length oracle", oracle=True, of=_PLAIN),
    _option("oracle", "length oracle", _SOFT, oracle=True, of=_SOFT),
  )
}

# What the paper says: of each start, and of the starts.
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


def chosen(names: str) -> list[Row]:
  """Returns the rows with these names, by commas, in their usual order; "" means all.

  A row that decodes another one's weights doesn't bring that row along, only its run.

  Raises:
    UserError: there is no such row.
  """
  wanted = [name.strip() for name in names.split(",") if name.strip()]
  for name in wanted:
    if name not in ROWS:
      [near] = difflib.get_close_matches(name, ROWS, n=1, cutoff=0)
      raise UserError(f"compare.rows: there is no row {name!r}. Did you mean {near!r}?")
  return [row for name, row in ROWS.items() if not wanted or name in wanted]


def configured(
  row: Row, finetune: ml_collections.ConfigDict, seed: int
) -> ml_collections.ConfigDict:
  """Returns the configuration of the run that a row reads."""
  config = ml_collections.ConfigDict(finetune.to_dict())
  trained = ROWS[row.trained]
  config.seed = seed
  if not trained.pretrained:
    config.init_from = ""
  if unknown := trained.keys.keys() - flat_keys(config).keys():
    raise UserError(f"row {trained.name} sets {unknown.pop()!r}, which is no key")
  config.update_from_flattened_dict(dict(trained.keys))
  if any(other.averaged and other.trained == trained.name for other in ROWS.values()):
    config.checkpoint.max_to_keep = max(config.checkpoint.max_to_keep, AVERAGED)
  return config
