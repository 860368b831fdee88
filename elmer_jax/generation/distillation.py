# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Sequence-level distillation: a teacher's own texts as the targets of a training."""

import dataclasses
import hashlib
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path

import ml_collections
from absl import logging

from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.core.errors import UserError
from elmer_jax.data.preparation import task_dataset_specs
from elmer_jax.decoding.incremental import Search
from elmer_jax.generation import api

_SECONDS_BETWEEN_LINES = 5


def distill(
  config: ml_collections.ConfigDict,
  workdir: str,
  output: str,
  beams: int | None = None,
  batch_size: int = 32,
) -> None:
  """Writes a line for each pair of a task's training split, in their order.

  Args:
    config: of the teacher's run; it names the task.
    workdir: its folder.
    output: the JSONL file to make: `source`, and the teacher's text as `target`, or the
      pair's own where the teacher writes nothing. It appears once it is whole; what an
      interrupted call has written is gone on from.
    beams: 1 is greedy; by default as the teacher came.
    batch_size: texts at a time.

  Raises:
    UserError: the file exists, or the teacher isn't autoregressive.
  """
  path = Path(output)
  if path.exists():
    raise UserError(f"--output={output} exists already: name a new file")
  teacher = api.load(workdir)
  if teacher.objective != "autoregressive":
    raise UserError(
      f"{workdir} was trained with objective {teacher.objective}: a teacher is an "
      "autoregressive model"
    )
  search = teacher.search
  if beams:
    search = dataclasses.replace(search, beams=beams)
  made_by = f"{orbax_checkpoint.find_checkpoint(workdir)} {search} {batch_size}"
  digest = hashlib.blake2b(made_by.encode(), digest_size=4).hexdigest()
  unfinished = path.with_name(f"{path.name}.{digest}.unfinished")
  _write(teacher, search, _training_pairs(config), unfinished, batch_size)
  unfinished.replace(path)
  logging.info("%s is whole", output)


def _training_pairs(config: ml_collections.ConfigDict) -> list[tuple[str, str]]:
  """Returns the pairs of the task's own training split."""
  specs = [spec for spec, _ in task_dataset_specs(config)]
  return list(itertools.chain(*(spec.read("train") for spec in specs)))


def _write(
  teacher: api.Model,
  search: Search,
  pairs: Sequence[tuple[str, str]],
  path: Path,
  batch: int,
) -> None:
  """Writes the lines that are missing in `path`."""
  done = _whole_lines(path, batch)
  if done:
    logging.info("%d of %d pairs were written before", done, len(pairs))
  kept = 0
  start = last = time.monotonic()
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a", encoding="utf-8")
  except OSError as error:
    raise UserError(f"--output: {path} can't be written: {error.strerror}") from None
  with file:
    todo = pairs[done:]
    texts = (source for source, _ in todo)
    results = api.stream(teacher, texts, search=search, batch_size=batch)
    for count, (pair, result) in enumerate(zip(todo, results, strict=True), 1):
      target = result.text.strip()
      kept += not target
      line = {"source": pair[0], "target": target or pair[1]}
      file.write(json.dumps(line, ensure_ascii=False) + "\n")
      now = time.monotonic()
      if now - last >= _SECONDS_BETWEEN_LINES or count == len(todo):
        last, rate = now, count / (now - start)
        logging.info(
          "%d of %d pairs, %.1f a second, about %.0f s left",
          *(done + count, len(pairs), rate, (len(todo) - count) / rate),
        )
  if kept:
    logging.warning("for %d sources nothing was written: their targets stay", kept)


def _whole_lines(path: Path, multiple: int) -> int:
  """Cuts a file after as many whole lines as are a multiple; returns how many.

  So the batches are those of a run without interruption, and so are the bytes.
  """
  if not path.exists():
    return 0
  with path.open("rb+") as file:
    ends = [0]
    for line in file:
      if line.endswith(b"\n"):
        ends.append(ends[-1] + len(line))
    count = (len(ends) - 1) // multiple * multiple
    file.truncate(ends[count])
  return count
