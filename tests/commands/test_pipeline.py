# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""From weights to fine-tuning on own pairs, and commands that take the folder alone."""

import json
from pathlib import Path

import pytest
import tiny
import tiny_run
import tiny_text

import elmer_jax
from elmer_jax.checkpoints.averaging import average
from elmer_jax.checkpoints.which import choose
from elmer_jax.commands import gate_calibration, pipeline, reporting
from elmer_jax.commands.resolution import resolve
from elmer_jax.core.errors import UserError
from elmer_jax.training import loop


def resolved(*arguments: str):
  return resolve(["elmer", *arguments])[:2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
  """A fine-tuning on own pairs, from the weights of another run with other sizes."""
  folder = tmp_path_factory.mktemp("runs")
  tiny_run.write(tiny.configure(), folder / "pretrain", tiny_text.vocabulary())
  texts = tiny_text.documents(120, sentences=3)
  pairs = [{"source": text, "target": " ".join(text.split()[:4])} for text in texts]
  (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
  arguments = [
    "--config=finetune_pairs",
    f"--workdir={folder / 'run'}",
    f"--config.init_from={folder / 'pretrain'}",
    f"--config.data.files={folder / 'pairs.jsonl'}",
    "--config.objective.name=last_layer",
    "--config.data.source_length=16",
    "--config.data.target_length=12",
    "--config.data.batch_size=8",
    "--config.data.num_workers=1",
    "--config.train.steps=2",
    "--config.checkpoint.every=1",
  ]
  pipeline.prepare(*resolved(*arguments))
  pipeline.train(*resolved(*arguments))
  return folder / "run"


def test_the_decoding_of_a_graph_is_fitted_at_the_end_of_training(finished):
  """A start after an interrupted fitting fits the same."""
  run = finished.with_name("graph")
  arguments = [
    "--config=finetune_pairs",
    f"--workdir={run}",
    f"--config.init_from={finished}",
    f"--config.data.files={finished.parent / 'pairs.jsonl'}",
    f"--config.data.cache={finished / 'cache'}",
    "--config.objective.name=dag",
    "--config.data.source_length=16",
    "--config.data.target_length=12",
    "--config.data.batch_size=8",
    "--config.data.num_workers=1",
    "--config.train.steps=2",
  ]
  pipeline.train(*resolved(*arguments))
  settings = run / "checkpoints" / "2" / "dag.npz"
  fitted = settings.read_bytes()
  settings.unlink()
  pipeline.train(*resolved(f"--workdir={run}"))
  assert settings.read_bytes() == fitted
  found = pipeline.evaluate(*resolved(f"--workdir={run}"))
  assert {"dag", "dag_shuffled_source"} < found["systems"].keys()
  assert "dag_repeats_kept" not in found["systems"] and found["removed_repeats"] == 0
  average(str(run), str(run.with_name("graph_mean")), 1)
  mean = elmer_jax.load(str(run.with_name("graph_mean")))
  assert mean.dag[:3] == elmer_jax.load(str(run)).dag[:3]


def steps_of(run: Path) -> set[str]:
  return {path.name for path in (run / "checkpoints").iterdir() if path.name.isdigit()}


def test_the_folder_alone_is_enough_to_go_on(finished):
  pipeline.train(*resolved(f"--workdir={finished}", "--config.train.steps=3"))
  assert steps_of(finished) == {"2", "3"}
  assert elmer_jax.load(str(finished)).config.d_model == 32


def test_the_folder_alone_is_enough_to_evaluate_and_report(finished, capsys):
  found = pipeline.evaluate(*resolved(f"--workdir={finished}"))
  assert found["split"] == "validation"
  reporting.report(*reporting.folders(str(finished), [], None))
  assert (finished / "report" / "index.html").exists()
  assert str(finished / "report") in capsys.readouterr().out


def test_an_average_is_a_run_that_can_be_evaluated(finished):
  mean = finished.with_name("mean")
  average(str(finished), str(mean), 2)
  assert pipeline.evaluate(*resolved(f"--workdir={mean}"))["split"] == "validation"


def test_the_folder_alone_is_enough_to_calibrate(finished):
  config, workdir = resolved(f"--workdir={finished}")
  stated = gate_calibration.calibrate(config, workdir, loss=100.0, texts=16)
  assert elmer_jax.load(workdir).gate is not None
  assert stated["loss_at_most"] <= 100


def test_arguments_of_a_calibration_are_checked(finished):
  config, workdir = resolved(f"--workdir={finished}")
  with pytest.raises(UserError, match="--confidence must be in"):
    gate_calibration.calibrate(config, workdir, confidence=1.5)
  with pytest.raises(UserError, match="--trim=3 must be below"):
    gate_calibration.calibrate(config, workdir, trim=3)


def test_a_distillation_without_a_checkpoint_or_a_teacher_is_refused(
  finished, tmp_path
):
  config, workdir = resolved(f"--workdir={finished}")
  with pytest.raises(UserError, match="autoregressive"):
    pipeline.distill(config, workdir, str(tmp_path / "pairs.jsonl"))
  with pytest.raises(UserError, match="no checkpoint at"):
    pipeline.distill(config, str(tmp_path / "run"), str(tmp_path / "pairs.jsonl"))
  assert not list(tmp_path.iterdir())


def test_a_report_needs_its_folders():
  for named in ((None, [], None), (None, ["run"], None), (None, [], "report")):
    with pytest.raises(UserError, match="--workdir=DIR, or --runs="):
      reporting.folders(*named)


def test_a_run_ends_early_and_its_best_checkpoint_can_be_chosen(
  finished, monkeypatch, caplog
):
  """The loss rises from the second evaluation on."""
  losses = iter([9.0, 1.0, 2.0, 3.0, 4.0])
  validate = {"accuracy": 0.0}
  monkeypatch.setattr(loop, "validate", lambda *_: validate | {"loss": next(losses)})
  stored = json.loads((finished / "config.json").read_text())
  run = finished.with_name("early")
  arguments = [
    "--config=finetune_pairs",
    f"--workdir={run}",
    f"--config.init_from={stored['init_from']}",
    f"--config.data.files={stored['data']['files']}",
    *("--config.objective.name=last_layer", "--config.data.source_length=16"),
    *("--config.data.target_length=12", "--config.data.batch_size=8"),
    *("--config.data.num_workers=1", "--config.train.steps=50"),
    *("--config.train.eval_every=1", "--config.train.patience=2"),
    *("--config.checkpoint.every=50", "--config.checkpoint.max_to_keep=1"),
    "--config.checkpoint.keep_best=True",
  ]
  pipeline.train(*resolved(*arguments))
  assert steps_of(run) == {"1", "3"}
  with caplog.at_level("INFO", "absl"):
    pipeline.train(*resolved(*arguments))
  assert "trained already: 3 steps" in caplog.text
  paths = {which: choose(str(run), which) for which in ("latest", "best", "3")}
  assert paths["latest"] == str(run)
  assert paths["best"].endswith("/1") and paths["3"].endswith("/3")
  with pytest.raises(UserError, match="--which=7 is neither latest nor best .* 1, 3"):
    choose(str(run), "7")
  found = pipeline.evaluate(*resolved(f"--workdir={run}"), which="best")
  assert found["checkpoint_step"] == 1
