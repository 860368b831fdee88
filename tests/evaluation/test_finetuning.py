# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The evaluation of a fine-tuning: its systems, with the scores of seqio."""

import ast
import json
import sys
from pathlib import Path

import pytest
import seqio
import tiny
import tiny_run
import tiny_text
from absl import flags

import elmer_jax
from elmer_jax import evaluate
from elmer_jax.core.errors import UserError
from elmer_jax.data import tasks
from elmer_jax.data.datasets.dataset import DatasetSpec
from elmer_jax.evaluation import finetuning, samples
from elmer_jax.generation import api
from elmer_jax.metrics import text_metrics
from elmer_jax.reports import read_run

# The README's example, for another task and workdir.
SCRIPT = """
import elmer_jax, seqio
from elmer_jax.data import tasks

model = elmer_jax.load("W/finetune")
tasks.use_vocabulary("W/finetune/checkpoints/vocabulary")
lengths = {"inputs": model.source_length, "targets": model.target_length}
convert = seqio.EncDecFeatureConverter(pack=False)
evaluator = seqio.Evaluator("pydocs_summary", convert, "test", sequence_length=lengths)
ids = [r.token_ids for r in elmer_jax.generate(model, tasks.texts(evaluator))]
rows = tasks.predictions(ids)
print(evaluator.evaluate(compute_metrics=True, predict_fn=lambda _: rows)[0].result())
"""


def pairs(split: str) -> list[tuple[str, str]]:
  texts = tiny_text.documents(45, seed=["train", "validation", "test"].index(split))
  # Untrained models generate single letters by chance.
  return [
    (f"def read_{n % 7}(x)\n{text}", f"Read\n{' '.join('kqteluby'[n % 6 :][:3])}.")
    for n, text in enumerate(texts)
  ]


@pytest.fixture(scope="module")
def task():
  yield tasks.register_pairs(
    DatasetSpec("tiny_summary", "pairs", lambda s: iter(pairs(s)))
  )
  seqio.TaskRegistry.remove("tiny_summary")


def configure(**changes):
  changes |= {"objective__name": "soft_exit", "data__source_length": 40}
  return tiny.configure(**changes)


@pytest.fixture(scope="module")
def run(task, tmp_path_factory) -> Path:
  workdir = tmp_path_factory.mktemp("run")
  tiny_run.write(configure(data__task="tiny_summary"), workdir, tiny_text.vocabulary())
  return workdir


def command(config, workdir: Path, *arguments: str) -> None:
  flags.FLAGS.unparse_flags()
  flags.FLAGS([sys.argv[0], *arguments])
  evaluate.main(config, str(workdir))
  flags.FLAGS["split"].unparse()


@pytest.fixture(scope="module")
def found(run) -> dict:
  command(configure(data__task="tiny_summary"), run)
  return json.loads((run / "evaluation" / "test.json").read_text())


def test_the_last_lines_are_the_table_and_the_path_of_the_report(found, run, capsys):
  command(configure(data__task="tiny_summary"), run)
  *lines, last = capsys.readouterr().out.splitlines()
  assert last.startswith(f"Report: {run}/report/index.html")
  table = lines[1 : 2 + len(found["systems"])]
  assert table[0].split()[:3] == ["test,", "45", "examples"]
  assert [row.split()[-2] for row in table[1:]] == [
    f"{scores['rougeL']:.1f}" for scores in found["systems"].values()
  ]
  assert "Only 45 examples scored: differences of a few points are chance." in lines


def test_all_systems_are_scored_and_a_report_is_written(found, run):
  assert list(found["systems"]) == [
    "soft_exit",
    "soft_exit_repeats_kept",
    "soft_exit_shuffled_source",
    "baseline_constant",
    "baseline_template",
    "baseline_lead",
    "baseline_name",
  ]
  assert found["checkpoint_step"] == tiny_run.STEP
  assert found["examples"] == 45
  assert found["systems"]["baseline_template"]["rougeL"] > 0
  summary = json.loads((run / "report" / "summary.json").read_text())
  assert summary["test"]["soft_exit"] == found["systems"]["soft_exit"]
  assert set(read_run.RESULTS["finetune"][1]) <= found.keys()


def test_seqio_gives_the_same_scores(found, run, capsys):
  script = SCRIPT.replace("W/finetune", str(run))
  exec(script.replace("pydocs_summary", "tiny_summary"), {})
  scores = ast.literal_eval(capsys.readouterr().out)
  assert scores == {"tiny_summary": found["systems"]["soft_exit"]}


def test_the_scores_are_those_of_the_predictions_file(found, run):
  text = (run / "evaluation" / "predictions.jsonl").read_text()
  lines = [json.loads(line) for line in text.splitlines()]
  assert [(line["source"], line["reference"]) for line in lines] == pairs("test")
  references = [text_metrics.one_line(line["reference"]) for line in lines]
  outputs = [text_metrics.one_line(line["output"]) for line in lines]
  systems = found["systems"]
  assert text_metrics.rouge(references, outputs).items() <= systems["soft_exit"].items()
  assert found["distinct_outputs"] == len(set(outputs)) / 45 > 1 / 45

  # The model's output for the source half-way on.
  model = elmer_jax.load(str(run))
  sources = [line["source"] for line in lines]
  moved = elmer_jax.generate(model, sources[22:] + sources[:22])
  shuffled = text_metrics.rouge(
    references, [text_metrics.one_line(r.text) for r in moved]
  )
  assert shuffled.items() <= systems["soft_exit_shuffled_source"].items()
  assert shuffled["rouge1"] != systems["soft_exit"]["rouge1"]


def test_removed_repeats_are_a_share_of_all_tokens(found, run):
  model = elmer_jax.load(str(run))
  sources = [source for source, _ in pairs("test")]
  every = elmer_jax.generate(model, sources, remove_repeats=False)
  kept = elmer_jax.generate(model, sources)
  tokens = [sum(len(r.token_ids) for r in results) for results in (every, kept)]
  assert found["removed_repeats"] == pytest.approx(1 - tokens[1] / tokens[0])
  assert 0 < found["removed_repeats"] < 1


def test_samples_have_every_layer_s_predictions(found):
  assert len(found["samples"]) == samples.COUNT
  for sample in found["samples"]:
    count = len(sample["pieces"])
    assert len(sample["layers"]) == 3
    assert all(len(layer) == count for layer in sample["layers"])
    assert sample["layers"][-1] == sample["pieces"]
    columns = list(zip(*sample["layers"], strict=True))
    assert len(sample["exit_layers"]) == len(columns) == count
    for column, layer in zip(columns, sample["exit_layers"], strict=True):  # from 1
      assert len(set(column[layer - 1 :])) == 1
      assert layer == 1 or column[layer - 2] != column[-1]


def test_hard_exit_is_scored_with_its_exits_and_without(task, tmp_path):
  # Larger weights than usual, so that some tokens exit early.
  config = configure(data__task="tiny_summary", model__init_stddev=0.3)
  config.objective.update({"name": "hard_exit", "exit_threshold": 4.0})
  tiny_run.write(config, tmp_path, tiny_text.vocabulary())
  command(config, tmp_path, "--oracle_length")
  flags.FLAGS["oracle_length"].unparse()
  found = json.loads((tmp_path / "evaluation" / "test.json").read_text())
  names = [name for name in found["systems"] if not name.startswith("baseline_")]
  assert names == [
    "hard_exit",
    "hard_exit_repeats_kept",
    "hard_exit_shuffled_source",
    "hard_exit_without_exits",
    "hard_exit_oracle_length",
  ]
  assert found["oracle_length"] is True
  text = (tmp_path / "evaluation" / "predictions.jsonl").read_text()
  lines = [json.loads(line) for line in text.splitlines()]
  encode = elmer_jax.load(str(tmp_path)).vocabulary.encode
  lengths = [len(encode(line["reference"])) + 1 for line in lines]
  model = elmer_jax.load(str(tmp_path))
  sources = [line["source"] for line in lines]
  given = elmer_jax.generate(model, sources, oracle_lengths=lengths)
  assert [r.text for r in given] == [r["output_with_oracle_length"] for r in lines]
  # Some outputs fill the reference's length, none goes beyond.
  every = elmer_jax.generate(
    model, sources, oracle_lengths=lengths, remove_repeats=False
  )
  over = [len(r.token_ids) - n for r, n in zip(every, lengths, strict=True)]
  assert max(over) == 0
  model = elmer_jax.load(str(tmp_path))
  sources = [source for source, _ in pairs("test")]
  every = elmer_jax.generate(model, sources, remove_repeats=False)
  exits = [layer for result in every for layer in result.exit_layers]
  assert found["mean_exit_layer"] == pytest.approx(sum(exits) / len(exits))
  assert found["mean_exit_layer"] < 3
  assert (
    "colour of the layer at which it exited"
    in (tmp_path / "report" / "index.html").read_text()
  )


def test_a_checkpoint_is_evaluated_once(found, run):
  before = (run / "evaluation" / "test.json").stat().st_mtime_ns
  command(configure(data__task="tiny_summary"), run)
  assert (run / "evaluation" / "test.json").stat().st_mtime_ns == before


def test_own_pairs_are_evaluated_on_their_validation_split(tmp_path):
  path = tmp_path / "pairs.jsonl"
  rows = [
    {"source": f"Where is {number}?", "target": f"Here is {number}."}
    for number in range(300)
  ]
  path.write_text("\n".join(map(json.dumps, rows)))
  config = configure(data__task="pydocs_summary", data__files=str(path))
  tiny_run.write(config, tmp_path / "run", tiny_text.vocabulary())
  command(config, tmp_path / "run", "--split=validation")
  results = tmp_path / "run" / "evaluation" / "validation.json"
  found = json.loads(results.read_text())
  assert found["split"] == "validation" and found["examples"] > 1
  assert list(found["systems"])[-2:] == ["baseline_constant", "baseline_lead"]
  assert found["systems"]["baseline_constant"]["rougeL"] > 50
  assert (results.parent / "validation_predictions.jsonl").exists()
  summary = json.loads((tmp_path / "run" / "report" / "summary.json").read_text())
  assert summary["validation"]["examples"] == found["examples"]
  with pytest.raises(UserError, match="pydocs_summary has no split 'test'; it has"):
    command(config, tmp_path / "run", "--split=test")
  # With fewer examples the evaluation is repeated.
  config.evaluate.examples = 2
  command(config, tmp_path / "run", "--split=validation")
  drawn = json.loads(results.read_text())
  assert drawn["examples"] == 2 < found["examples"]


def test_own_test_files_are_scored_with_all_references_of_a_source(tmp_path):
  rows = [{"source": f"Where is {n}?", "target": f"Here is {n}."} for n in range(60)]
  tests = [
    {"source": "Where?", "target": ["Here.", "There."]},
    {"source": "Who?", "target": "He."},
    {"source": "Where?", "target": "Nowhere."},
  ]
  for name, content in (("train", rows), ("test", tests)):
    (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, content)))
  config = configure(data__task="text_pairs")
  config.data.files = str(tmp_path / "train.jsonl")
  config.data.test_files = str(tmp_path / "test.jsonl")
  tiny_run.write(config, tmp_path / "run", tiny_text.vocabulary())
  command(config, tmp_path / "run")
  folder = tmp_path / "run" / "evaluation"
  found = json.loads((folder / "test.json").read_text())
  assert found["examples"] == 2 and "chrf" in found["systems"]["soft_exit"]
  lines = map(json.loads, (folder / "predictions.jsonl").read_text().splitlines())
  assert [(line["reference"], line.get("references")) for line in lines] == [
    ("Here.", ["Here.", "There.", "Nowhere."]),
    ("He.", None),
  ]


def test_an_autoregressive_model_has_no_exits_in_its_report(task, tmp_path):
  config = configure(data__task="tiny_summary")
  config.objective.name = "autoregressive"
  tiny_run.write(config, tmp_path, tiny_text.vocabulary())
  command(config, tmp_path)
  found = json.loads((tmp_path / "evaluation" / "test.json").read_text())
  names = [name for name in found["systems"] if not name.startswith("baseline_")]
  assert names == ["autoregressive", "autoregressive_shuffled_source"]
  assert found["removed_repeats"] == 0
  page = (tmp_path / "report" / "index.html").read_text()
  assert "token by token" in page and "last changed" not in page


DIALOGUES = [
  {"persona": [f"i own {n} cats."], "dialogue": [["hi", f"{n} cats"], ["so", "yes"]]}
  for n in range(20)
]
QUESTIONS = [
  {
    "title": title,
    "context": f"It is {n}.",
    "question": f"What {n}?",
    "answers": ["it"],
  }
  for n, title in enumerate(["Plague", "Dog"] * 20)
]


@pytest.mark.parametrize(
  ("task", "files", "examples", "scores"),
  [
    (
      "personachat",
      {"train.json": DIALOGUES, "test.json": DIALOGUES[:7]},
      14,
      ["bleu1", "bleu2", "distinct1", "distinct2", "distinct_outputs"],
    ),
    ("personachat", {"test.json": DIALOGUES}, 40, ["bleu1", "bleu2"]),
    (
      "squad_question_generation",
      {"train.jsonl": QUESTIONS, "dev.jsonl": QUESTIONS},
      20,
      ["bleu1", "bleu2", "bleu3", "bleu4", "rouge1", "rouge2", "rougeL"],
    ),
  ],
)
def test_public_tasks_have_the_scores_of_their_papers(
  task, files, examples, scores, tmp_path
):
  for name, rows in files.items():
    as_lines = name.endswith(".jsonl")
    text = "\n".join(map(json.dumps, rows)) if as_lines else json.dumps(rows)
    (tmp_path / name).write_text(text)
  config = configure(data__task=task, data__files=str(tmp_path / "*.json*"))
  tiny_run.write(config, tmp_path / "run", tiny_text.vocabulary())
  command(config, tmp_path / "run")
  found = json.loads((tmp_path / "run" / "evaluation" / "test.json").read_text())
  assert found["examples"] == examples
  # Without signatures no baseline uses names.
  learned = ["baseline_constant", "baseline_lead"] if "train" in "".join(files) else []
  assert list(found["systems"])[3:] == learned
  for entry in found["systems"].values():
    assert set(scores) <= entry.keys()
  if learned:
    assert found["systems"]["baseline_constant"][scores[0]] > 0
  page = (tmp_path / "run" / "report" / "index.html").read_text()
  assert "BLEU-2" in page and ("ROUGE-L" in page) == ("rougeL" in scores)


def test_a_task_without_pairs_is_refused(run):
  model = api.load(str(run))
  config = configure(data__task="pydocs_pretrain")
  with pytest.raises(UserError, match="not one task of source and target"):
    finetuning.evaluate_finetuning(config, str(run), model, "test", {})
