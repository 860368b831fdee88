# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Text in, text out, a line each: line n of the output belongs to line n of the input.

python -m elmer_jax.generate --checkpoint=DIR --input=FILE|- --output=FILE|-

An empty line gives an empty line. A line break in a generated text becomes a space.
"""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from absl import flags

from elmer_jax.commands.runner import run_flags
from elmer_jax.core import compile_cache
from elmer_jax.core.atomic_files import replacing
from elmer_jax.core.errors import UserError
from elmer_jax.decoding.incremental import Search
from elmer_jax.generation import api
from elmer_jax.generation.generation_progress import Progress

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A run's workdir or checkpoint.")
_INPUT = flags.DEFINE_string("input", "-", "Text file, a source a line; - is stdin.")
_OUTPUT = flags.DEFINE_string("output", "-", "Where the texts go; - is stdout.")
_FORMAT = flags.DEFINE_enum(
  "format", "text", ["text", "jsonl"], "jsonl adds ids, exit layers, confidences."
)
_EXIT = flags.DEFINE_string(
  "exit", None, "soft, hard or none; default: as it was trained. Or gated: `calibrate`."
)
_DEPTH = flags.DEFINE_integer(
  "depth", None, "Decoder layers that run; default: all, or as the exit has it."
)
_THRESHOLD = flags.DEFINE_float(
  "threshold",
  None,
  "Of hard exit: a token leaves at the first layer whose distribution has an entropy "
  "below it, in nats. Of gated exit: a text stops once the gate takes this share of it "
  "to be settled. Default: the checkpoint's.",
)
_SHORTLIST = flags.DEFINE_integer(
  "shortlist",
  0,
  "Of soft exit: guesses below the last layer come from so many tokens, chosen for "
  "each text behind the first. Faster with a large vocabulary, and approximate. "
  "Default: 0, from all.",
  0,
)
_DTYPE = flags.DEFINE_enum(
  "dtype", None, ["float32", "bfloat16"], "Of the computation; default: as trained."
)
_LENGTH = flags.DEFINE_integer(
  "target_length", None, "Positions to decode; default: as it was trained.", 1
)
_BATCH = flags.DEFINE_integer("batch_size", 32, "Texts at a time.", 1)
_BEAMS = flags.DEFINE_integer(
  "beams", None, "Of an autoregressive model: 1 is greedy; default: as it came.", 1
)
_KEEP = flags.DEFINE_bool("keep_repeats", False, "Keep tokens that repeat the last.")


def main() -> None:
  if not _CHECKPOINT.value:
    raise UserError("--checkpoint is missing: the workdir of a run")
  compile_cache.cache_programs()
  with _reader(_INPUT.value) as source:
    # Only now is it worth loading a model.
    model = api.load(_CHECKPOINT.value)
    if _DEPTH.value is not None:
      model = model.at_depth(_DEPTH.value)
    if _DTYPE.value is not None:
      model = model.in_dtype(_DTYPE.value)
    results = api.stream(
      model,
      _lines(source),
      exit=_EXIT.value,
      threshold=_THRESHOLD.value,
      shortlist=_SHORTLIST.value,
      target_length=_LENGTH.value,
      batch_size=_BATCH.value,
      remove_repeats=False if _KEEP.value else None,
      search=_search(model),
      details=_FORMAT.value == "jsonl",
    )
    progress = Progress(source)
    with _writer(_OUTPUT.value) as output:
      for result in results:
        output.write(_line(model, result) + "\n")
        progress.add(len(result.token_ids))
    progress.end()


def _search(model: api.Model) -> Search | None:
  if _BEAMS.value is None:
    return None
  return dataclasses.replace(model.search, beams=_BEAMS.value)


def _lines(source: TextIO) -> Iterator[str]:
  for line in source:
    yield line.strip()


def _line(model: api.Model, result: api.Result) -> str:
  if _FORMAT.value == "text":
    return " ".join(result.text.split())
  return json.dumps(
    {
      "text": result.text,
      "token_ids": result.token_ids.tolist(),
      "tokens": model.vocabulary.pieces(result.token_ids),
      "exit_layers": result.exit_layers.tolist(),
      "confidence": [round(float(share), 4) for share in result.confidence],
      "by_layer": [model.vocabulary.pieces(ids) for ids in result.by_layer],
    },
    ensure_ascii=False,
  )


@contextlib.contextmanager
def _reader(path: str) -> Iterator[TextIO]:
  """Yields a text file in which only a line feed ends a line."""
  form = {"encoding": "utf-8-sig", "errors": "replace", "newline": "\n"}
  if path == "-":
    sys.stdin.reconfigure(**form)
    yield sys.stdin
    return
  try:
    file = open(path, **form)  # noqa: SIM115
  except OSError as error:
    raise UserError(f"--input={path} can't be read: {error.strerror}") from error
  with file:
    yield file


@contextlib.contextmanager
def _writer(path: str) -> Iterator[TextIO]:
  """Yields a file that appears under its name once it is complete."""
  if path == "-":
    # Whoever reads along gets every line at once.
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    yield sys.stdout
    return
  with (
    replacing(Path(path)) as temporary,
    temporary.open("w", encoding="utf-8") as file,
  ):
    yield file


if __name__ == "__main__":
  run_flags(main)
