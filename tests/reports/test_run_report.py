# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The report: its figures, a self-contained page, one-line errors."""

import html.parser
import json
import math
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib.figure
import numpy as np
import pytest

from elmer_jax.core.errors import UserError
from elmer_jax.decoding.decoded import stable_layers
from elmer_jax.reports import (
  exit_map,
  html_page,
  plots,
  read_run,
  run_page,
  run_report,
)

LAYERS = 3
HOSTILE = '<script src="https://example.org/x.js"></script> & "quoted" \\n'
SCORES = {"rouge1": 20.0, "rouge2": 7.5, "rougeL": 18.25}


def sample(number: int, keys: tuple[str, str]) -> dict:
  draw = random.Random(number)
  vocabulary = ["The", " sum", " of", "\\n", " ", "<b>", "."]
  layers = [[draw.choice(vocabulary) for _ in range(9)] for _ in range(LAYERS)]
  texts = {key: f"{key} {number} <mask> {HOSTILE}" for key in keys}
  exit_layers = (stable_layers(np.array(layers)) + 1).tolist()
  return texts | {
    "output": "".join(layers[-1]),
    "pieces": layers[-1],
    "layers": layers,
    "exit_layers": exit_layers,
  }


def write_run(folder, results_name: str, results: dict, task: str):
  (folder / "evaluation").mkdir(parents=True)
  model = {"encoder_layers": 2, "decoder_layers": LAYERS, "d_model": 64}
  config = {"model": model, "data": {"task": task}}
  (folder / "config.json").write_text(json.dumps(config))
  (folder / "timing.json").write_text(json.dumps({"prepare": 4.0, "train": 65.5}))
  accounts = {"seconds": 80.0, "goodput": 0.75, "seconds_compile": 20.0, "mfu": 0.414}
  (folder / "accounts.json").write_text(json.dumps(accounts))
  (folder / "evaluation" / results_name).write_text(json.dumps(results))
  lines = []
  for step in range(0, 101, 10):
    loss = 8 - step / 50
    lines.append({"step": step, "split": "train", "loss": loss})
    if step % 50 == 0:
      by_layer = {f"loss_layer_{n}": loss - n / 10 for n in range(1, LAYERS + 1)}
      by_layer |= {f"accuracy_layer_{n}": n / 20 for n in range(1, LAYERS + 1)}
      lines.append({"step": step, "split": "validation", "loss": loss} | by_layer)
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (folder / "metrics.jsonl").write_text(text)
  return folder


@pytest.fixture
def pretraining(tmp_path):
  results = {
    "format": 2,
    "checkpoint_step": 100,
    "initial_validation_loss": 8.0,
    "final_validation_loss": 6.0,
    "unigram_loss": 6.5,
    "shuffled_source_loss": 6.75,
    "tokens_per_second": 5000.0,
    "parameters": 1234567,
    "examples": 64,
    "samples": [sample(n, ("source", "target")) for n in range(25)],
  }
  return write_run(tmp_path / "pretrain", "pretrain.json", results, "some_texts")


@pytest.fixture
def fine_tuning(tmp_path):
  names = ("soft_exit", "soft_exit_shuffled_source", "baseline_lead", "something_new")
  results = {
    "format": 2,
    "checkpoint_step": 100,
    "examples": 600,
    "distinct_outputs": 0.75,
    "removed_repeats": 0.125,
    "systems": dict.fromkeys(names, SCORES),
    "samples": [sample(n, ("source", "reference")) for n in range(3)],
  }
  return write_run(tmp_path / "finetune", "test.json", results, "some_pairs")


class Page(html.parser.HTMLParser):
  """Collects a page's elements, and everything that it would load."""

  def __init__(self, text: str):
    super().__init__()
    self.classes: list[str] = []
    self.loads: list[str] = []
    self.tags: set[str] = set()
    self.feed(text)

  def handle_starttag(self, tag, attributes):
    self.tags.add(tag)
    for name, value in attributes:
      if name == "class":
        self.classes += value.split()
      if name in ("src", "href", "data", "srcset", "xlink:href") and value[:1] != "#":
        self.loads.append(value)


def test_both_runs_make_one_page_and_one_summary(pretraining, fine_tuning, tmp_path):
  output = tmp_path / "report"
  summary = run_report.write_report([pretraining, fine_tuning], output)

  assert json.loads((output / "summary.json").read_text()) == summary
  assert summary["pretrain"]["final_validation_loss"] == 6.0
  assert summary["pretrain"]["steps"] == 100
  assert summary["pretrain"]["accuracy_by_layer"] == [0.05, 0.1, 0.15]
  assert "samples" not in summary["pretrain"]
  assert summary["test"]["baseline_lead"] == SCORES
  assert summary["test"]["distinct_outputs"] == 0.75
  assert summary["seconds"]["finetune.train"] == 65.5
  assert sorted(path.name for path in output.iterdir()) == [
    "index.html",
    "summary.json",
  ]

  assert summary["accounts"]["finetune"]["goodput"] == 0.75

  text = (output / "index.html").read_text(encoding="utf-8")
  for cell in ("Training time in compile", "25.0%", "75.0%", "41.4%"):
    assert text.count(cell) >= 1
  page = Page(text)
  assert page.loads == []
  assert "url(http" not in text and "@import" not in text
  assert not page.tags & {"script", "link", "iframe", "img", "b"}
  assert page.classes.count("sample") == run_page.SAMPLES + 3
  assert page.classes.count("model") == 1
  plots = re.findall(r"<svg.*?</svg>", text, flags=re.S)
  assert len(plots) == 2 * 4  # each for wide and for narrow screens
  for plot in plots:
    ElementTree.fromstring(plot)
  # A colour that was left over from drawing would be almost black on black.
  assert not re.search(r"#0[12][0-9a-f]{4}\b", text)


def test_axes_of_losses_and_accuracies_start_at_zero():
  """A difference of 0.01 must not fill the plot."""
  curve = ([0, 10], [6.28, 6.27])
  for plot in (
    plots.loss(curve, curve, []),
    plots.layers_over_time([curve], [curve], curve),
  ):
    figure = matplotlib.figure.Figure()
    plot.draw(figure, html_page.colours(1))
    assert [axes.get_ylim()[0] for axes in figure.axes] == [0] * len(figure.axes)


def test_the_same_runs_give_the_same_bytes(pretraining, tmp_path):
  pages = []
  for name in ("a", "b"):
    run_report.write_report([pretraining], tmp_path / name)
    pages.append((tmp_path / name / "index.html").read_bytes())
  assert pages[0] == pages[1]


def test_the_page_names_tasks_folders_and_commands(pretraining, fine_tuning, tmp_path):
  run_report.write_report([pretraining, fine_tuning], tmp_path / "report")
  text = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
  assert "<h1>Pre-training on some_texts and fine-tuning on some_pairs</h1>" in text
  for folder in (pretraining, fine_tuning):
    assert f"python -m elmer_jax.evaluate --workdir={folder}<" in text


def test_a_model_that_is_no_better_than_its_baselines_is_called_failed(
  pretraining, fine_tuning, tmp_path
):
  results = pretraining / "evaluation" / "pretrain.json"
  worse = {"unigram_loss": 5.9}  # the model's loss is 6.0
  results.write_text(json.dumps(json.loads(results.read_text()) | worse))
  run_report.write_report([pretraining, fine_tuning], tmp_path / "report")
  text = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
  assert "failed: not below the unigram loss" in text
  assert "failed: not below the shuffled-source loss" not in text
  # Its scores are those of every other system.
  assert "failed: nothing lost with shuffled sources" in text
  assert "not above these baselines without a model: First sentence of the" in text
  assert text.count("the model does not use its source yet") == 1
  # Two figures of the headlines, and four sentences.
  assert Page(text).classes.count("failure") == 6


def test_a_source_is_shown_as_far_as_the_model_read_it(fine_tuning, tmp_path):
  path = fine_tuning / "evaluation" / "test.json"
  results = json.loads(path.read_text())
  results["samples"] = results["samples"][:1]
  results["samples"][0] |= {"source": "one two three", "source_read": "one two"}
  path.write_text(json.dumps(results))
  run_report.write_report([fine_tuning], tmp_path / "report")
  text = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
  assert "one two …" in text and "three" not in text


def test_results_whose_layers_count_from_0_are_read(fine_tuning):
  path = fine_tuning / "evaluation" / "test.json"
  results = json.loads(path.read_text())
  today = read_run.read_run(fine_tuning).results["samples"]
  del results["format"]
  for sample in results["samples"]:
    sample["exit_layers"] = [layer - 1 for layer in sample["exit_layers"]]
  path.write_text(json.dumps(results))
  assert read_run.read_run(fine_tuning).results["samples"] == today


def test_an_exit_map_has_layers_and_predictions_before_the_exit():
  layers = [["a", " b", "c"], ["a", " x", "c"], ["a", " y", "z"]]
  markup = exit_map.exit_map(layers, [1, 3, 3])
  text, table = markup.split("<details>")
  assert re.findall(r'class="token layer-(\d)"', text) == ["1", "3", "3"]
  assert re.findall(r"<rt>(.*?)</rt>", text) == ["x", "c"]
  assert "layers 1 to 3: b → x → y" in text
  assert '<span class="layer-1">a</span><span class="open"> bc</span>' in table
  assert '<span class="done">a</span><span class="layer-3"> yz</span>' in table
  legend = exit_map.legend(3, [1, 3, 3])
  assert re.findall(r"(\d+)%", legend) == ["33", "0", "67"]


def test_metrics_with_an_incomplete_line_and_a_repeated_step_are_read(pretraining):
  with (pretraining / "metrics.jsonl").open("a") as file:
    file.write('{"step": 110, "spl')
    file.write('\n{"step": 100, "split": "train", "loss": 1.5}\n')
  run = read_run.read_run(pretraining)
  steps, losses = run.metrics.curve("train", "loss")
  assert steps == list(range(0, 101, 10))
  assert losses[-1] == 1.5


def test_a_model_with_a_loss_of_nan_has_a_report_that_calls_it_failed(
  pretraining, tmp_path
):
  results = pretraining / "evaluation" / "pretrain.json"
  lost = {"final_validation_loss": math.nan, "shuffled_source_loss": math.nan}
  results.write_text(json.dumps(json.loads(results.read_text()) | lost))
  path = pretraining / "metrics.jsonl"
  lines = [json.loads(line) for line in path.read_text().splitlines()]
  for line in lines:
    line |= {name: math.nan for name in line if name not in ("step", "split")}
  path.write_text("".join(json.dumps(line) + "\n" for line in lines))
  summary = run_report.write_report([pretraining], tmp_path / "report")
  assert math.isnan(summary["pretrain"]["final_validation_loss"])
  page = (tmp_path / "report" / "index.html").read_text()
  assert "failed: not below the unigram loss" in page


def damage(run, name: str, text: str | None):
  path = run / name
  path.unlink() if text is None else path.write_text(text)


@pytest.mark.parametrize(
  ("name", "text", "message"),
  [
    ("config.json", None, "not the folder of a run"),
    ("config.json", "[]", "not a JSON object"),
    ("metrics.jsonl", None, "metrics.jsonl is missing"),
    ("evaluation/pretrain.json", None, "is not evaluated yet"),
    ("evaluation/pretrain.json", "{", "is damaged .not JSON"),
    (
      "evaluation/pretrain.json",
      '{"samples": []}',
      "validation_loss is missing",
    ),
  ],
)
def test_an_incomplete_run_is_named_and_nothing_is_written(
  pretraining, tmp_path, name, text, message
):
  damage(pretraining, name, text)
  with pytest.raises(UserError, match=message):
    run_report.write_report([pretraining], tmp_path / "report")
  assert not (tmp_path / "report").exists()


def test_two_runs_of_a_kind_and_a_file_as_output_are_refused(pretraining, tmp_path):
  with pytest.raises(UserError, match="same kind"):
    run_report.write_report([pretraining, pretraining], tmp_path / "report")
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="can't be written"):
    run_report.write_report([pretraining], tmp_path / "file")


def test_the_command_prints_a_summary_or_one_line(pretraining, tmp_path):
  def command(*flags: str) -> subprocess.CompletedProcess:
    arguments = [sys.executable, "-m", "elmer_jax.report", *flags]
    return subprocess.run(arguments, capture_output=True, text=True)

  output = tmp_path / "report"
  done = command(f"--runs={pretraining}", f"--output={output}")
  assert done.returncode == 0, done.stderr
  [line] = done.stdout.splitlines()
  assert str(output / "index.html") in line

  failed = command(f"--runs={tmp_path / 'nothing'}", f"--output={output}")
  assert failed.returncode == 2
  assert failed.stderr.startswith("error: ")
  assert len(failed.stderr.splitlines()) == 1
