# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What ELMER was pre-trained on: Wikipedia and books, whole documents.

wikipedia_lplm   TFDS `wikipedia` (the newest English configuration that is prepared on
                 this machine), or files
books_lplm       files alone: BookCorpus is not in TFDS

Files are text or JSONL with a field `text`, see `sources.read_documents`. Neither set
has a validation split, so some documents are held out, see `recipe.held_out_recipe`.
"""

import functools
from collections.abc import Iterator

from elmer_jax.core.errors import UserError
from elmer_jax.data.datasets import tfds_sets
from elmer_jax.data.datasets.dataset import Recipe, held_out_recipe, text_recipe

WIKIPEDIA = tfds_sets.Prepared(
  "wikipedia",
  configs=r"[0-9]{8}\.en",
  build="20230601.en",
  files="name files: --config.data.files='wikipedia_lplm=FILES' (in seqio "
  "tasks.use_files)",
)


def wikipedia() -> Recipe:
  """Returns the recipe `wikipedia_lplm`."""

  def read_all() -> Iterator[str]:
    texts = (example["text"].decode() for example in WIKIPEDIA.examples("train"))
    return filter(None, (text.strip() for text in texts))

  recipe = held_out_recipe(
    "wikipedia_lplm", "lplm", read_all, lambda: WIKIPEDIA.size("train")
  )
  return _with_files(recipe)


def books() -> Recipe:
  """Returns the recipe `books_lplm`."""

  def missing(split: str):
    raise UserError(
      "books_lplm is read from files alone: --config.data.files='books_lplm=FILES' (in "
      "seqio tasks.use_files)"
    )

  splits = ("train", "validation")
  return _with_files(Recipe("books_lplm", "lplm", missing, splits, missing))


def _with_files(recipe: Recipe) -> Recipe:
  from_files = functools.partial(text_recipe, recipe.name)
  return Recipe(
    recipe.name, recipe.kind, recipe.read, recipe.splits, recipe.size, from_files
  )
