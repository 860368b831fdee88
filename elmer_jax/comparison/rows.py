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

from elmer_jax.command import flat_keys
from elmer_jax.decoding.incremental import Search
from elmer_jax.errors import UserError

STARTS = {"pretrained": "LPLM pre-training", "random": "random start"}


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
  """One row.

  Attributes:
    name: for files and --config.compare.rows.
    label: for people.
    pretrained: whether it starts from the pre-trained weights, else from random ones.
    keys: of `finetune` with their values, where they differ.
    settings: keyword arguments of `api.generate`, where they differ.
    of: the row whose weights these settings decode; by default its own.
    beside: the row from which this one differs in one thing; their difference is told.
  """

  name: str
  label: str
  pretrained: bool
  keys: Mapping[str, object] = dataclasses.field(default_factory=dict)
  settings: Mapping[str, object] = dataclasses.field(default_factory=dict)
  of: str = ""
  beside: str = ""

  @property
  def trained(self) -> str:
    """The name of the row that is trained for this one."""
    return self.of or self.name

  @property
  def variant(self) -> str:
    """What the files of its evaluation are called by; "" where it is the default."""
    return self.name if self.of else ""

  @property
  def start(self) -> str:
    return "pretrained" if self.pretrained else "random"


@dataclasses.dataclass(frozen=True)
class Claim:
  """That one row scores at least what another one does."""

  text: str
  better: str
  worse: str


# From the reference to what the method adds to it.
_METHODS = {
  "ar": ("Autoregressive, greedy", "autoregressive"),
  "plain": ("Plain NAR", "last_layer"),
  "soft": ("ELMER, soft exit", "soft_exit"),
}
GREEDY, BEAM = "ar_pretrained", "ar_pretrained_beam4"


def _main_rows() -> list[Row]:
  return [
    Row(f"{method}_{start}", label, start == "pretrained", {"objective.name": name})
    for start in STARTS
    for method, (label, name) in _METHODS.items()
  ]


ROWS = {
  row.name: row
  for row in (
    *_main_rows(),
    Row(
      BEAM,
      "Autoregressive, beam 4",
      True,
      settings={"search": Search(beams=4)},
      of=GREEDY,
      beside=GREEDY,
    ),
  )
}

# What the paper says, for each start, and of the starts.
CLAIMS = (
  *(
    Claim(f"soft exit ≥ plain NAR ({words})", f"soft_{start}", f"plain_{start}")
    for start, words in STARTS.items()
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
  """Returns the configuration of the run that a row is trained by."""
  config = ml_collections.ConfigDict(finetune.to_dict())
  trained = ROWS[row.trained]
  config.seed = seed
  if not trained.pretrained:
    config.init_from = ""
  if unknown := trained.keys.keys() - flat_keys(config).keys():
    raise UserError(f"row {trained.name} sets {unknown.pop()!r}, which is no key")
  config.update_from_flattened_dict(dict(trained.keys))
  return config
