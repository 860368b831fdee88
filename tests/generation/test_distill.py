# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Distilled pairs: one for each, the same every time, and only the training reads them;
averaged checkpoints: the mean."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
import tiny_run
import tiny_text

import elmer_jax
from elmer_jax.checkpoints import averaging, orbax_checkpoint
from elmer_jax.core.errors import UserError
from elmer_jax.data import preparation, prepared_data
from elmer_jax.generation import distillation


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
  path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
  texts = tiny_text.documents(70)
  rows = [{"source": t, "target": f"Says {n}."} for n, t in enumerate(texts)]
  path.write_text("\n".join(map(json.dumps, rows)))
  return path


def configure(files: Path, name: str = "autoregressive", **changes):
  changes |= {"objective__name": name, "data__source_length": 24}
  return tiny.configure(data__task="own", data__files=str(files), **changes)


@pytest.fixture(scope="module")
def teacher(files, tmp_path_factory) -> Path:
  workdir = tmp_path_factory.mktemp("teacher")
  tiny_run.write(configure(files), workdir, tiny_text.vocabulary())
  return workdir


def run(config, workdir: Path, output: Path) -> None:
  distillation.distill(config, str(workdir), str(output), batch_size=16)


def test_a_line_for_each_training_pair_the_same_after_an_interruption(
  files, teacher, tmp_path
):
  run(configure(files), teacher, tmp_path / "a.jsonl")
  rows = [json.loads(line) for line in (tmp_path / "a.jsonl").open()]
  [(spec, _)] = preparation.dataset_specs_of(configure(files))
  pairs = list(spec.read("train"))
  assert [row["source"] for row in rows] == [source for source, _ in pairs]
  model = elmer_jax.load(str(teacher))
  texts = [r.text.strip() for r in elmer_jax.generate(model, [s for s, _ in pairs])]
  kept = [target for _, target in pairs]
  assert [row["target"] for row in rows] == [
    a or b for a, b in zip(texts, kept, strict=True)
  ]
  assert len({row["target"] for row in rows}) > 10

  run(configure(files), teacher, tmp_path / "b.jsonl")
  whole = (tmp_path / "a.jsonl").read_bytes()
  assert (tmp_path / "b.jsonl").read_bytes() == whole
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(distillation.json, "dumps", _fails_after(40))
    with pytest.raises(KeyboardInterrupt):
      run(configure(files), teacher, tmp_path / "c.jsonl")
  [unfinished] = tmp_path.glob("c.jsonl.*")
  assert unfinished.read_bytes().count(b"\n") > 16
  run(configure(files), teacher, tmp_path / "c.jsonl")
  assert (tmp_path / "c.jsonl").read_bytes() == whole
  assert not list(tmp_path.glob("c.jsonl.*"))


def _fails_after(count: int):
  true, calls = json.dumps, []

  def dumps(*arguments, **options):
    calls.append(1)
    if len(calls) > count:
      raise KeyboardInterrupt
    return true(*arguments, **options)

  return dumps


def test_only_the_training_split_is_distilled(files, tmp_path):
  own = tmp_path / "distilled.jsonl"
  own.write_text(json.dumps({"source": "a", "target": "b"}))
  config = configure(files, "last_layer", data__distilled=str(own))
  [(plain, _)] = preparation.task_dataset_specs(config)
  [(spec, _)] = preparation.dataset_specs_of(config)
  assert list(spec.read("train")) == [("a", "b")]
  assert list(spec.read("validation")) == list(plain.read("validation"))
  prepared_data.write_parts(config, str(tmp_path), [])
  config.data.distilled = ""
  with pytest.raises(UserError, match="another distilled"):
    prepared_data.read_parts(config, str(tmp_path))


def test_only_autoregressive_teachers_teach(files, tmp_path):
  config = configure(files, "last_layer")
  tiny_run.write(config, tmp_path / "run", tiny_text.vocabulary())
  with pytest.raises(UserError, match="a teacher must be autoregressive"):
    run(config, tmp_path / "run", tmp_path / "out.jsonl")
  assert not list(tmp_path.glob("out*"))


def test_documents_have_no_distilled_form(tmp_path):
  config = tiny.configure(data__task="pydocs_pretrain", data__distilled="a.jsonl")
  with pytest.raises(UserError, match="data.distilled needs a single task of pairs"):
    preparation.dataset_specs_of(config)


def test_the_average_is_the_mean_of_the_last_ones(files, tmp_path):
  config = configure(files, "last_layer")
  run = tmp_path / "run"
  tiny_run.write(config, run, tiny_text.vocabulary())
  first = orbax_checkpoint.load(str(run))
  metadata = {k: v for k, v in first.metadata.items() if k not in ("step", "model")}
  params = [first.params]
  folder = str(orbax_checkpoint.checkpoints_folder(str(run)))
  for step in (8, 12):
    params.append(jax.tree.map(lambda leaf, n=step: leaf * n + 0.1, first.params))
    orbax_checkpoint.save_params(folder, first.config, params[-1], metadata, step)
  averaging.average(str(run), str(tmp_path / "mean"), 2)
  found = orbax_checkpoint.load(str(tmp_path / "mean"))
  jax.tree.map(
    lambda ours, a, b: np.testing.assert_allclose(ours, (a + b) / 2, rtol=1e-6),
    *(found.params, *params[1:]),
  )
  assert found.metadata["averaged"] == [8, 12] and found.metadata["step"] == 12
  assert elmer_jax.load(str(tmp_path / "mean")).objective == "last_layer"
  assert (tmp_path / "mean" / "metrics.jsonl").exists()
  with pytest.raises(
    UserError,
    match="has 3 checkpoints, not 4: train with a higher checkpoint.max_to_keep",
  ):
    averaging.average(str(run), str(tmp_path / "other"), 4)
  with pytest.raises(UserError, match="exists already"):
    averaging.average(str(run), str(tmp_path / "mean"), 2)
