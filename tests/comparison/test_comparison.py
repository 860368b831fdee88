# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A comparison from data to page: equal batches, no repeated work."""

import json
import re
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import ml_collections
import numpy as np
import pytest
import seqio
import tiny
import tiny_run
import tiny_text

from elmer_jax import compare, configuration
from elmer_jax.comparison import stages, variants
from elmer_jax.comparison.comparison import Comparison
from elmer_jax.comparison.page import TEXTS
from elmer_jax.comparison.stages import Stage
from elmer_jax.core.errors import UserError
from elmer_jax.data import loader, tasks
from elmer_jax.data.datasets.dataset import DatasetSpec
from elmer_jax.tokenizer.bpe import Vocabulary

ROWS = "plain_pretrained,plain_random"
ADDED = "plain_pretrained_averaged"
STEPS = 4


def documents(split: str):
  return iter(tiny_text.documents(40, seed=len(split)))


def pairs(split: str):
  texts = tiny_text.documents(32, seed=len(split))  # a batch: one program decodes
  return iter([(text, " ".join(text.split()[:4])) for text in texts])


@pytest.fixture(scope="module", autouse=True)
def registered():
  tasks.register_lplm(
    DatasetSpec("tiny_text", "lplm", documents, ("train", "validation"))
  )
  tasks.register_pairs(DatasetSpec("tiny_pairs", "pairs", pairs))
  yield
  for name in ("tiny_text", "tiny_pairs"):
    seqio.TaskRegistry.remove(name)


def configure(
  names: str = ROWS, init_from: str = "", **changes
) -> ml_collections.ConfigDict:
  config = configuration.comparison()
  config.pretrain = tiny.configure(data__task="tiny_text", train__steps=STEPS)
  config.finetune = tiny.configure(data__task="tiny_pairs", train__steps=STEPS)
  config.finetune.init_from = init_from
  config.finetune.data.source_length = 24
  config.finetune.optimizer.learning_rate = 1e-2
  config.compare.update({"rows": names, "resamples": 100, "timed_calls": 2} | changes)
  return config


def table_of(folder: Path) -> dict:
  return json.loads((folder / "compare" / "table.json").read_text())


def files(folder: Path) -> dict[Path, int]:
  """Returns when each file was written; the configuration is written at every start."""
  return {
    path: path.stat().st_mtime_ns
    for path in folder.rglob("*")
    if path.is_file() and path != folder / "config.json"
  }


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
  """Weights to start from; only the slow test trains them itself."""
  folder = tmp_path_factory.mktemp("weights")
  tiny_run.write(tiny.configure(), folder, tiny_text.vocabulary())
  return str(folder)


@pytest.fixture(scope="module")
def finished(weights, tmp_path_factory) -> Path:
  folder = tmp_path_factory.mktemp("compared")
  compare.main(configure(init_from=weights), str(folder))
  return folder


def test_variants_that_share_a_run_train_it_once_per_seed(tmp_path):
  stages = Comparison(configure("", seeds=(0, 1)), tmp_path).stages()
  names = [stage.name for stage in stages]
  assert len(set(names)) == len(names)
  runs = {variant.run_name for variant in variants.VARIANTS.values()}
  assert sum(stage.kind == "train" for stage in stages) == 1 + 2 * len(runs)


def test_each_row_has_scores_times_and_the_same_number_of_steps(finished):
  table = table_of(finished)
  assert list(table["rows"]) == ROWS.split(",")
  for entry in table["rows"].values():
    assert entry["steps"] == STEPS and entry["seeds"] == [0]
    for score in entry["scores"].values():
      assert score["interval"][0] <= score["value"] <= score["interval"][1]
      assert score["by_seed"] == [pytest.approx(score["value"])]
    assert min(entry["seconds"].values()) > 0
    assert {"rouge1", "rouge2", "rougeL"} <= entry["scores"].keys()
    assert {"rougeL"} <= entry["repeats_kept"].keys() & entry["shuffled_source"].keys()
  found = json.loads(
    (finished / "runs" / "plain_random-seed0" / "evaluation" / "test.json").read_text()
  )
  scores = table["rows"]["plain_random"]["scores"]
  wanted = {name: found["systems"]["none"][name] for name in scores}
  assert {name: score["value"] for name, score in scores.items()} == wanted
  assert "baseline_lead" in table["baselines"]


def test_the_second_call_repeats_nothing(finished, weights, capsys):
  before = files(finished)
  start = time.monotonic()
  compare.main(configure(init_from=weights), str(finished))
  assert time.monotonic() - start < 5
  assert files(finished) == before
  assert capsys.readouterr().out == (finished / "compare" / "table.md").read_text()


def test_deleted_times_are_measured_and_written_again(finished, weights):
  latency_file = finished / "compare" / "latency.json"
  latency_file.unlink()
  compare.main(configure(init_from=weights), str(finished))
  seconds = json.loads(latency_file.read_text())["seconds"]
  rows = table_of(finished)["rows"]
  assert {name: row["seconds"] for name, row in rows.items()} == seconds


@pytest.fixture(scope="module")
def extended(finished, weights) -> tuple[Path, set[Path]]:
  """The same with one row more, and the files that were written for it."""
  before = files(finished)
  compare.main(configure(f"{ROWS},{ADDED}", weights), str(finished))
  after = files(finished)
  return finished, {path for path in after if before.get(path) != after[path]}


def test_an_added_row_makes_only_what_it_needs(extended):
  folder, changed = extended
  places = {path.relative_to(folder).parts[:2] for path in changed}
  made = {place[1] for place in places if place[0] == "runs"}
  assert made == {"plain_pretrained-seed0-mean"}
  assert {place[0] for place in places} == {"runs", "compare"}
  table = table_of(folder)
  assert ADDED in table["rows"]
  assert {found["baseline"] for found in table["differences"]} == {"Plain NAR"}


def test_claims_are_tested_where_both_rows_are_present(extended):
  table = table_of(extended[0])
  claims = {found["claim"] for found in table["claims"]}
  assert claims == {"pre-trained ≥ random (Plain NAR)"}
  claim = next(found for found in table["claims"] if found["metric"] == "rougeL")
  ours, theirs = (
    table["rows"][name]["scores"]["rougeL"]["value"] for name in ROWS.split(",")
  )
  assert claim["difference"] == pytest.approx(ours - theirs)
  assert claim["interval"][0] <= claim["difference"] <= claim["interval"][1]


def test_all_rows_see_the_same_batches_and_have_their_own_starts(finished, weights):
  check_runs(finished, ROWS.split(","), weights)
  first = [
    json.loads((run_of(finished, name) / "metrics.jsonl").open().readline())["loss"]
    for name in ROWS.split(",")
  ]
  assert first[0] != first[1]  # before the first step


def run_of(folder: Path, name: str) -> Path:
  return folder / "runs" / f"{name}-seed0"


def check_runs(folder: Path, names: list[str], weights: str) -> None:
  """Checks the batches and the starts of runs by their stored configurations."""
  seen = []
  for name in names:
    run = run_of(folder, name)
    config = ml_collections.ConfigDict(json.loads((run / "config.json").read_text()))
    vocabulary = Vocabulary.load(config.data.vocabulary)
    data = loader.open_batches(config, str(run), vocabulary, "train")
    seen.append([data[step] for step in range(STEPS)])
    assert config.init_from == (weights if variants.VARIANTS[name].pretrained else "")
  for others in seen[1:]:
    for ours, theirs in zip(seen[0], others, strict=True):
      np.testing.assert_equal(ours, theirs)


def test_the_page_shows_every_row(extended):
  text = (extended[0] / "compare" / "index.html").read_text(encoding="utf-8")
  for plot in re.findall(r"<svg.*?</svg>", text, flags=re.S):
    ElementTree.fromstring(plot)
  assert not re.search(r"#0[12][0-9a-f]{4}\b", text)
  for name in (*ROWS.split(","), ADDED):
    assert text.count(variants.VARIANTS[name].label) >= 2  # plot and table


def test_configurations_that_cannot_be_compared_are_refused(
  finished, weights, tmp_path
):
  with pytest.raises(UserError, match="Did you mean 'soft_random'"):
    compare.main(configure("soft_randm"), str(tmp_path))
  with pytest.raises(UserError, match="compare.seeds is empty"):
    compare.main(configure(seeds=()), str(tmp_path))
  with pytest.raises(UserError, match="compare.timed_calls must be from 1"):
    compare.main(configure(timed_calls=0), str(tmp_path))
  config = configure()
  config.pretrain.objective.name = "last_layer"
  with pytest.raises(UserError, match="pretrain.objective.name"):
    compare.main(config, str(tmp_path))
  config = configure(init_from=weights)
  config.finetune.train.steps += 1
  with pytest.raises(UserError, match="finetune.train.steps is 5, stored is 4"):
    compare.main(config, str(finished))


def test_variants_are_consistent():
  steps = set()
  for name, variant in variants.VARIANTS.items():
    assert variant.name == name
    assert not variants.VARIANTS[variant.run_name].trained_by
    assert not variant.baseline or variant.baseline in variants.VARIANTS
    config = variants.run_config(variant, configuration.comparison().finetune, 0)
    steps.add(config.train.steps / variants.VARIANTS[variant.run_name].steps_ratio)
    if variant.trained_by:  # without training of its own, it must decode otherwise
      assert not variant.overrides and not variant.distilled
      assert variant.decoding or variant.averaged or variant.oracle
  assert len(steps) == 1
  for claim in variants.CLAIMS:
    assert {claim.better, claim.worse} <= variants.VARIANTS.keys()


def test_finished_stages_are_skipped_and_predict_the_remaining_time(caplog):
  done = []

  def stage(name: str, size: float, is_done: bool) -> Stage:
    return Stage(
      name, "train", size, lambda: is_done, lambda: done.append(name), lambda: 60.0
    )

  with caplog.at_level("INFO", logger="absl"):
    stages.run([stage("a", 1, True), stage("b", 2, False), stage("c", 2, False)])
  assert done == ["b", "c"]
  assert "about 4:00 left" in caplog.text


@pytest.mark.slow
def test_all_rows_with_two_seeds(tmp_path):
  compare.main(configure("", seeds=(0, 1)), str(tmp_path))
  table = table_of(tmp_path)
  assert table["rows"].keys() == variants.VARIANTS.keys()
  for entry in table["rows"].values():
    assert entry["steps"] in (STEPS, round(variants.DAG_COMPUTE * STEPS))
    assert entry["seeds"] == [0, 1]
    assert entry["speed"].keys() == {"greedy", "beam4"} or not entry["seconds"]
  claims = {found["claim"] for found in table["claims"]}
  assert claims == {claim.text for claim in variants.CLAIMS}
  page = (tmp_path / "compare" / "index.html").read_text(encoding="utf-8")
  assert page.count('class="map"') == 2 * TEXTS
  runs = dict.fromkeys(variant.run_name for variant in variants.VARIANTS.values())
  undistilled = [name for name in runs if not variants.VARIANTS[name].distilled]
  check_runs(tmp_path, undistilled, str(tmp_path / "runs" / "pretrain"))
  before = files(tmp_path)
  compare.main(configure("", seeds=(0, 1)), str(tmp_path))
  assert files(tmp_path) == before
