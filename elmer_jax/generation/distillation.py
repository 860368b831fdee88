# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Sequence-level distillation: a teacher's texts as training targets.

Source: Kim and Rush, 2016 (arXiv 1606.07947).
"""

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
from elmer_jax.core.wording import count_of, format_duration
from elmer_jax.data.preparation import task_dataset_specs
from elmer_jax.decoding.strategies import Autoregressive
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
    config: of the teacher's run, which has the task.
    workdir: its folder.
    output: the JSONL file to write: `source`, and as `target` the teacher's text, or
      the pair's own target where that is empty. The file takes its name once it is
      complete; an interrupted call is continued.
    beams: 1 is greedy; by default the checkpoint's setting.
    batch_size: texts at a time.

  Raises:
    UserError: the file exists, or the teacher is not autoregressive.
  """
  path = Path(output).resolve()
  if path.exists():
    raise UserError(f"--output={output} exists already: name a new file")
  teacher = api.load(workdir)
  if teacher.objective != "autoregressive":
    raise UserError(
      f"{workdir} was trained with objective {teacher.objective}: a teacher must be "
      "autoregressive"
    )
  search = teacher.search
  if beams:
    search = dataclasses.replace(search, beams=beams)
  decoding = Autoregressive.of(search)
  made_by = f"{orbax_checkpoint.find_checkpoint(workdir)} {search} {batch_size}"
  digest = hashlib.blake2b(made_by.encode(), digest_size=4).hexdigest()
  unfinished = path.with_name(f"{path.name}.{digest}.unfinished")
  if unfinished.is_symlink():
    raise UserError(f"{unfinished} is a link: delete it")
  _write(teacher, decoding, _training_pairs(config), unfinished, batch_size)
  unfinished.replace(path)
  logging.info("%s is complete", output)


def _training_pairs(config: ml_collections.ConfigDict) -> list[tuple[str, str]]:
  """Returns the pairs of the task's own training split."""
  specs = [spec for spec, _ in task_dataset_specs(config)]
  return list(itertools.chain(*(spec.read("train") for spec in specs)))


def _write(
  teacher: api.Model,
  decoding: Autoregressive,
  pairs: Sequence[tuple[str, str]],
  path: Path,
  batch: int,
) -> None:
  """Appends the lines that `path` lacks."""
  done = _complete_lines(path, batch)
  if done:
    logging.info("%d of %d pairs are already written", done, len(pairs))
  kept = 0
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a", encoding="utf-8")
  except OSError as error:
    raise UserError(f"--output: {path} can't be written: {error.strerror}") from None
  with file:
    todo = pairs[done:]
    texts = (source for source, _ in todo)
    settings = api.Settings(batch_size=batch, details=False)
    start = last = time.monotonic()
    results = api.stream(teacher, texts, decoding, settings)
    for count, (pair, result) in enumerate(zip(todo, results, strict=True), 1):
      target = result.text.strip()
      kept += not target
      line = {"source": pair[0], "target": target or pair[1]}
      file.write(json.dumps(line, ensure_ascii=False) + "\n")
      now = time.monotonic()
      if now - last >= _SECONDS_BETWEEN_LINES or count == len(todo):
        last, rate = now, count / (now - start)
        left = format_duration((len(todo) - count) / rate)
        logging.info(
          "%d of %s, %.1f a second, about %s left",
          *(done + count, count_of(len(pairs), "pair"), rate, left),
        )
  if kept:
    logging.warning("the teacher's text is empty, own target kept: %d pairs", kept)


def _complete_lines(path: Path, multiple: int) -> int:
  """Truncates a file to complete lines, a multiple of `multiple`; returns their number.

  The batches, and so the bytes, are then those of a call without interruption.
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
