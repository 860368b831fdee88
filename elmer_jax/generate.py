# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Generates a text for each line of its input.

    python -m elmer_jax.generate --checkpoint=DIR --input=FILE|- --output=FILE|-

The input has a source a line, or, if its name ends in .jsonl or --input_format=jsonl is
given, a JSON object a line with the field `source`, which may hold line breaks. Line n
of the output belongs to line n of the input; an empty line gives an empty line.

--format=text      the text; a line break in it becomes a space
--format=records   JSON: all fields of the input (of a text input, `source`) and
                   `output`
--format=jsonl     JSON: the fields of a JSON input, text, token_ids, tokens,
                   confidence, and layers that count from 1: exit_layers (the layer that
                   gave each token), stable_layers (the layer from which its prediction
                   stays the same), by_layer (all predictions)
"""

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from absl import flags

from elmer_jax.checkpoints.which import choose
from elmer_jax.commands import runner
from elmer_jax.core import compile_cache
from elmer_jax.core.atomic_files import replacing
from elmer_jax.core.errors import UserError
from elmer_jax.core.paths import local_path
from elmer_jax.data.readers.text_files import LONE_SURROGATE
from elmer_jax.decoding import strategies
from elmer_jax.generation import api
from elmer_jax.generation.generation_progress import GenerationProgress
from elmer_jax.generation.source_lines import JSON_SUFFIXES, SourceLines
from elmer_jax.parallel import chips

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A run's workdir or checkpoint.")
_WHICH = flags.DEFINE_string(
  "which", "latest", "Of a run: latest, best (by validation loss) or a step."
)
_INPUT = flags.DEFINE_string("input", "-", "A source a line; - is stdin.")
_INPUT_FORMAT = flags.DEFINE_enum(
  "input_format",
  None,
  ["text", "jsonl"],
  "Of the input; default: jsonl for a name that ends in .jsonl, otherwise text.",
)
_SOURCE_FIELD = flags.DEFINE_string(
  "source_field", "source", "The field of a JSON input that has the source."
)
_OUTPUT = flags.DEFINE_string("output", "-", "File for the texts; - is stdout.")
_FORMAT = flags.DEFINE_enum(
  "format", "text", ["text", "records", "jsonl"], "Of the output; see above."
)
_EXIT = flags.DEFINE_string(
  "exit",
  None,
  "none, soft, hard, gated (after calibrate), mask_predict, or of the objective dag "
  "viterbi, lookahead, greedy; default: what the model was trained for.",
)
_DEPTH = flags.DEFINE_integer(
  "depth", None, "With --exit=none: the number of decoder layers that run.", 1
)
_THRESHOLD = flags.DEFINE_float(
  "threshold",
  None,
  "Hard exit: a token exits at the first layer whose entropy, in nats, is below it. "
  "Gated exit: a text stops once the gate expects this share of its tokens to be "
  "final. Default: the checkpoint's.",
)
_SHORTLIST = flags.DEFINE_integer(
  "shortlist",
  0,
  "Soft exit: the layers below the last predict from this many tokens, chosen for each "
  "text after the first layer. An approximation, faster with a large vocabulary. 0: "
  "from all tokens.",
  0,
)
_PASSES = flags.DEFINE_integer(
  "passes", None, "With --exit=mask_predict: passes of the decoder; default: 4.", 1
)
_DTYPE = flags.DEFINE_enum(
  "dtype", None, ["float32", "bfloat16"], "Of the computation; default: as trained."
)
_LENGTH = flags.DEFINE_integer(
  "target_length", None, "Positions to decode; default: the model's.", 1
)
_BATCH = flags.DEFINE_integer("batch_size", 32, "Texts at a time.", 1)
_BEAMS = flags.DEFINE_integer(
  "beams", None, "Autoregressive models: 1 is greedy; default: the checkpoint's.", 1
)
_KEEP = flags.DEFINE_bool(
  "keep_repeats", False, "Keep tokens that equal their left neighbour."
)


def main() -> None:
  checkpoint = local_path(runner.required(_CHECKPOINT), "--checkpoint")
  output_path = _output_path(_OUTPUT.value)
  compile_cache.cache_programs()
  with _reader(_INPUT.value) as source:
    # The input can be read: only now is it worth loading a model.
    chips.warn_of_unused_gpu()
    model = api.load(choose(checkpoint, _WHICH.value))
    if _DTYPE.value is not None:
      model = model.in_dtype(_DTYPE.value)
    settings = api.Settings(
      target_length=_LENGTH.value,
      batch_size=_BATCH.value,
      remove_repeats=False if _KEEP.value else None,
      details=_FORMAT.value == "jsonl",
    )
    lines = SourceLines(source, f"--input={_INPUT.value}", _source_field())
    results = api.stream(model, lines.texts(), _decoding(model), settings)
    progress = GenerationProgress(source)
    with _writer(output_path) as output:
      for result in results:
        output.write(_line(model, lines.next_fields(), result) + "\n")
        progress.add(len(result.token_ids))
    progress.end()


def _decoding(model: api.Model) -> strategies.Strategy:
  search = None
  if _BEAMS.value is not None:
    search = dataclasses.replace(model.search, beams=_BEAMS.value)
  return strategies.from_words(
    model,
    exit=_EXIT.value,
    threshold=_THRESHOLD.value,
    shortlist=_SHORTLIST.value,
    depth=_DEPTH.value,
    passes=_PASSES.value,
    search=search,
  )


def _source_field() -> str | None:
  """Returns the field of a JSON input that has the source, None for a text input."""
  is_json = _INPUT.value.lower().endswith(JSON_SUFFIXES)
  form = _INPUT_FORMAT.value or ("jsonl" if is_json else "text")
  return _SOURCE_FIELD.value if form == "jsonl" else None


def _line(model: api.Model, given: dict, result: api.Result) -> str:
  """Returns a line of the output; `given` are the fields of the input."""
  if _FORMAT.value == "text":
    return " ".join(result.text.split())
  if _FORMAT.value == "records":
    return _json(given | {"output": result.text})
  given = {} if _source_field() is None else given
  return _json(given | _details(model, result))


def _json(fields: dict) -> str:
  # Escapes such as "\ud83d" in a JSON input can't be written in UTF-8.
  return LONE_SURROGATE.sub("\ufffd", json.dumps(fields, ensure_ascii=False))


def _details(model: api.Model, result: api.Result) -> dict:
  pieces = model.vocabulary.pieces
  fields = {
    "text": result.text,
    "token_ids": result.token_ids.tolist(),
    "tokens": pieces(result.token_ids),
    "confidence": [round(float(share), 4) for share in result.confidence],
    "exit_layers": result.exit_layers.tolist(),
    "removed_repeats": result.removed_repeats,
  }
  if result.by_layer is not None:
    fields["stable_layers"] = result.stable_layers.tolist()
    fields["by_layer"] = [pieces(ids) for ids in result.by_layer]
  return fields


def _output_path(path: str) -> str:
  """Returns a path to which all can be written that is decoded."""
  if path == "-":
    return path
  path = local_path(path, "--output")
  if os.path.isdir(path):
    raise UserError(f"--output={path} is a folder: name a file in it")
  return path


@contextlib.contextmanager
def _reader(path: str) -> Iterator[TextIO]:
  """Yields a text file in which only a line feed ends a line."""
  options = {"encoding": "utf-8-sig", "errors": "replace", "newline": "\n"}
  if path == "-":
    sys.stdin.reconfigure(**options)
    yield sys.stdin
    return
  try:
    file = open(local_path(path, "--input"), **options)  # noqa: SIM115
  except OSError as error:
    raise UserError(f"--input={path} can't be read: {error.strerror}") from error
  with file:
    yield file


@contextlib.contextmanager
def _writer(path: str) -> Iterator[TextIO]:
  """Yields a file that takes its name once it is complete; devices are written to."""
  if path == "-":
    # A reader of the pipe gets every line as soon as it is written.
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    yield sys.stdout
    return
  with (
    replacing(Path(path)) as temporary,
    temporary.open("w", encoding="utf-8") as file,
  ):
    yield file


if __name__ == "__main__":
  runner.run_flags(main)
