# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Generation: a text for each source in order, few programs, clear words."""

import dataclasses
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
import tiny_run
import tiny_text
from absl import logging

import elmer_jax
from elmer_jax import Depth, Gated, HardExit, NoExit, SoftExit
from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.core.errors import UserError
from elmer_jax.decoding.gate import gate_file
from elmer_jax.decoding.gate.gated_decoding import Gate
from elmer_jax.generation import api, generation_progress
from elmer_jax.generation.source_lines import SourceLines

TEXTS = [text[:20] for text in tiny_text.documents(11)]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
  workdir = tmp_path_factory.mktemp("run")
  config = tiny.configure(objective__name="soft_exit", data__source_length=24)
  tiny_run.write(config, workdir, tiny_text.vocabulary())
  return workdir


@pytest.fixture(scope="module")
def model(run):
  return elmer_jax.load(str(run))


def texts(results) -> list[str]:
  return [result.text for result in results]


def test_a_text_does_not_depend_on_its_batch(model):
  together = texts(elmer_jax.generate(model, TEXTS, batch_size=4))
  assert together == [elmer_jax.generate(model, [text])[0].text for text in TEXTS]
  assert len(set(together)) > 5


def test_blank_sources_give_empty_texts_in_their_places(model):
  with_blanks = ["", *TEXTS[:2], " \t", TEXTS[2]]
  found = elmer_jax.generate(model, with_blanks)
  a, b, c = texts(elmer_jax.generate(model, TEXTS[:3]))
  assert texts(found) == ["", a, b, "", c]
  assert found[0].by_layer.shape == (3, 0) and found[0].removed_repeats == 0


def test_removing_repeats_leaves_the_other_tokens(model):
  every = elmer_jax.generate(model, TEXTS, remove_repeats=False)
  some = elmer_jax.generate(model, TEXTS)
  for a, b in zip(every, some, strict=True):
    kept = np.append(True, a.token_ids[1:] != a.token_ids[:-1])
    np.testing.assert_array_equal(b.token_ids, a.token_ids[kept])
    np.testing.assert_array_equal(b.by_layer, a.by_layer[:, kept])
    assert (a.removed_repeats, b.removed_repeats) == (0, (~kept).sum())
  assert sum(result.removed_repeats for result in some) > 0


def test_texts_are_the_same_without_details(model):
  with_details = elmer_jax.generate(model, ["", *TEXTS])
  without = elmer_jax.generate(model, ["", *TEXTS], details=False)
  assert texts(without) == texts(with_details)
  for some, every in zip(without, with_details, strict=True):
    np.testing.assert_array_equal(some.token_ids, every.token_ids)
    assert some.removed_repeats == every.removed_repeats
    assert some.confidence is some.exit_layers is some.by_layer is None
    assert some.stable_layers is None


def test_the_word_mask_is_the_mask_for_a_pretrained_model_only(model):
  models = [dataclasses.replace(model, objective=o) for o in ("lplm", "last_layer")]
  filled, plain = (elmer_jax.generate(m, ["a <mask>", "b"]) for m in models)
  assert filled[0].text != plain[0].text
  assert filled[1].text == plain[1].text


def test_powers_of_two_compile_the_programs_of_all_counts(model):
  events = []

  def write(counts) -> None:
    for count in counts:
      elmer_jax.generate(model, (TEXTS * 3)[:count], batch_size=8)

  write((1, 2, 4, 8))
  jax.monitoring.register_event_duration_secs_listener(
    lambda event, *_, **__: events.append(event)
  )
  write(range(1, 25))
  assert not [event for event in events if "compile" in event]


def test_truncated_sources_are_counted_once(model, monkeypatch):
  lines = []
  monkeypatch.setattr(logging, "warning", lambda text, *args: lines.append(text % args))
  long = "one two three four five six seven"
  found = elmer_jax.generate(model, [long, "short", long + " eight"], batch_size=1)
  assert lines == ["sources longer than 22 tokens, truncated: 2"]
  assert found[0].text == found[2].text


def generate(run: Path, *arguments: str, text: bytes) -> subprocess.CompletedProcess:
  command = [sys.executable, "-m", "elmer_jax.generate", f"--checkpoint={run}"]
  return subprocess.run([*command, *arguments], input=text, capture_output=True)


def test_a_line_for_each_line(run, model):
  done = generate(run, text=b"def add(a, b)\r\n\n\xff\x0cx\x1dy\nlast")
  assert done.returncode == 0, done.stderr
  lines = done.stdout.decode().split("\n")
  assert len(lines) == 5 and lines[1] == lines[4] == ""
  sources = ["def add(a, b)", "", "\ufffd\x0cx\x1dy", "last"]
  expected = texts(elmer_jax.generate(model, sources))
  assert lines[:4] == [" ".join(text.split()) for text in expected]


def test_json_lines_keep_their_fields_and_may_hold_line_breaks(run, model, tmp_path):
  rows = [
    {"id": 7, "source": "def add(a, b)\nAdds.", "tags": ["x"]},
    {"id": 8, "source": "last \ud83d"},
  ]
  lines = "\n\n".join(map(json.dumps, rows)).encode()
  path = tmp_path / "sources.jsonl"
  path.write_bytes(lines)
  expected = texts(elmer_jax.generate(model, [row["source"] for row in rows]))
  done = generate(run, f"--input={path}", "--format=records", text=b"")
  assert done.returncode == 0, done.stderr
  rows[1]["source"] = "last \ufffd"
  assert [json.loads(line) for line in done.stdout.splitlines()] == [
    row | {"output": text} for row, text in zip(rows, expected, strict=True)
  ]


def test_sources_of_json_lines_are_named_and_lines_of_text_are_kept(run, tmp_path):
  flags = ("--input_format=jsonl", "--source_field=question", "--format=jsonl")
  done = generate(run, *flags, text=b'{"question": "def add(a, b)", "id": 7}\n')
  [line] = map(json.loads, done.stdout.splitlines())
  assert line["id"] == 7 and line["question"] == "def add(a, b)"
  plain = generate(run, "--format=records", text=b"def add(a, b)\n")
  [record] = map(json.loads, plain.stdout.splitlines())
  assert record == {"source": "def add(a, b)", "output": line["text"]}


def lines_of(text: str, field: str | None) -> list[str]:
  return list(SourceLines(io.StringIO(text), "--input=x", field).texts())


@pytest.mark.parametrize(
  ("line", "message"),
  [
    ("{", "--input=x, line 2: not JSON"),
    ("[]", "line 2: not a JSON object"),
    ('{"id": 7}', r"line 2: no text in field 'a' \(its fields: 'id'\); --source_field"),
    ('{"a": null}', "line 2: no text in field 'a'"),
  ],
)
def test_a_line_without_a_source_is_named(line, message):
  assert lines_of('{"a": " b "}\n', "a") == ["b"]
  assert lines_of(f"{line}\n\n", None) == [line, ""]
  with pytest.raises(UserError, match=message):
    lines_of(f'{{"a": "b"}}\n{line}\n', "a")


def test_two_runs_give_the_same_bytes_and_log_their_throughput(run, tmp_path):
  source = tmp_path / "sources.txt"
  lines = [" ".join(text.split()) for text in TEXTS]
  source.write_text("".join(f"{line}\n" for line in lines))
  runs = [
    generate(run, "--format=jsonl", f"--input={source}", text=b"") for _ in range(2)
  ]
  assert runs[0].stdout == runs[1].stdout != b""
  assert re.search(
    rb"11 texts, \d+ tokens in .* texts/s, [\d.]+ tokens/s", runs[0].stderr
  )


def test_the_bar_shows_the_share_of_a_file(tmp_path, monkeypatch, capsys):
  """On a terminal; the file may grow meanwhile."""
  path = tmp_path / "lines.txt"
  path.write_text("a line\n" * 10_000)
  monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
  monkeypatch.setitem(generation_progress._SECONDS, "terminal", 0.0)
  with path.open() as source:
    progress = generation_progress.GenerationProgress(source)
    for number, _ in enumerate(source):
      progress.add(3)
      if number == 5_000:
        with path.open("a") as more:
          more.write("another\n")
    progress.end()
  drawn = capsys.readouterr().err.split("\r")
  assert re.search(
    r"\[#+\.+\] +\d+%, 3,000 texts, .* texts/s, about \d+:\d\d left", drawn[3000]
  )
  assert "[" + "#" * 24 + "] 100%" in drawn[-2]


def test_lines_pass_through_a_batch_at_a_time(model):
  """What is read ahead of what is written stays one batch, however long the input."""
  read = 0

  def lines():
    nonlocal read
    for _ in range(1_000):
      read += 1
      yield "a"

  for written, _ in enumerate(
    api.stream(model, lines(), settings=api.Settings(batch_size=8))
  ):
    assert read <= written + 8
  assert written == 999


def test_a_closed_pipe_is_a_clean_end(run):
  command = [sys.executable, "-m", "elmer_jax.generate", f"--checkpoint={run}"]
  pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
  with subprocess.Popen(command, **pipes, stderr=subprocess.PIPE) as process:
    process.stdin.write(b"def add(a, b)\n" * 2000)
    process.stdin.close()
    process.stdout.readline()
    process.stdout.close()
    log = process.stderr.read()
  assert process.returncode == 0 and b"Error" not in log, log


def test_a_strategy_that_was_not_trained_is_one_line(run, tmp_path):
  output = tmp_path / "texts.txt"
  done = generate(run, "--exit=none", f"--output={output}", text=b"def add(a, b)\n")
  assert done.returncode == 2
  [line] = done.stderr.decode().splitlines()
  assert "exit=none does not fit this checkpoint" in line
  assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def gated_run(tmp_path_factory) -> Path:
  workdir = tmp_path_factory.mktemp("gated")
  config = tiny.configure(objective__name="hard_exit", data__source_length=24)
  tiny_run.write(config, workdir, tiny_text.vocabulary())
  shape = (config.model.decoder_layers - 1, config.model.d_model, 2)
  weights = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  gate = Gate(weights, np.zeros(shape[::2]), np.zeros(shape[0]))
  folder, step = orbax_checkpoint.find_checkpoint(str(workdir))
  gate_file.write(folder / str(step), gate_file.Calibrated(gate, 0.5, 0, {}))
  return workdir


def test_gated_texts_stop_at_one_layer(gated_run):
  model = elmer_jax.load(str(gated_run))
  every = {n: elmer_jax.generate(model, TEXTS, Depth(n)) for n in (1, 3)}
  for threshold, depth in ((0.0, 1), (1.0, 3)):
    found = elmer_jax.generate(model, TEXTS, Gated(threshold))
    assert texts(found) == texts(every[depth])
    assert {n for result in found for n in result.exit_layers} == {depth}
  found = elmer_jax.generate(model, TEXTS, Gated())
  layers = [set(result.exit_layers.tolist()) for result in found]
  assert max(map(len, layers)) == 1 and len(set.union(*layers)) > 1


@pytest.mark.parametrize(
  ("flags", "line"),
  [
    ("--exit=gated --threshold=1.5", "threshold=1.5 must be between 0 and 1"),
    ("--depth=4", "depth 4 must lie between 1 and the model's 3 decoder layers"),
  ],
)
def test_an_invalid_setting_is_one_line(gated_run, flags, line):
  done = generate(gated_run, *flags.split(), text=b"def add(a, b)\n")
  assert done.returncode == 2
  assert done.stderr.decode().splitlines() == [f"error: {line}"]


def test_older_keywords_name_the_strategies(gated_run):
  model = elmer_jax.load(str(gated_run))
  for strategy, words in (
    (Gated(1.0), {"exit": "gated", "threshold": 1.0}),
    (HardExit(0.5), {"exit": "hard", "threshold": 0.5}),
    (NoExit(), {"exit": "none"}),
  ):
    new, old = (
      elmer_jax.generate(model, TEXTS, strategy),
      elmer_jax.generate(model, TEXTS, **words),
    )
    assert texts(new) == texts(old)


@pytest.mark.parametrize(
  ("arguments", "line"),
  [
    ({"batch_size": 0}, "batch_size must be a whole number from 1"),
    ({"batch_size": 2.5}, "batch_size must be a whole number"),
    ({"texts": ["a", None]}, "texts.1. is of type NoneType, not a string"),
    ({"target_length": "12"}, "target_length 12 must be between"),
    ({"texts": "one text"}, "texts is one string"),
    ({"oracle_lengths": [3]}, "1 oracle_lengths for 11 texts"),
    ({"oracle_lengths": [0] * 11}, "oracle_lengths must be between 1"),
    ({"target_length": 41}, "target_length 41 must be between 1 and"),
    ({"decoding": SoftExit(), "exit": "soft"}, "decoding is given"),
  ],
)
def test_invalid_arguments_are_refused_at_the_call(model, arguments, line):
  with pytest.raises(UserError, match=line):
    elmer_jax.generate(model, **({"texts": TEXTS} | arguments))


def test_errors_come_before_the_first_result(model):
  with pytest.raises(UserError, match="does not fit this checkpoint"):
    api.stream(model, iter(TEXTS), HardExit())
