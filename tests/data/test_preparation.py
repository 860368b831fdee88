# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""`prepare` completes missing data and refuses data that doesn't match."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import tiny_text
import zstandard

from elmer_jax.core.errors import UserError
from elmer_jax.data import loader
from elmer_jax.data.cache.cache import open_cache
from elmer_jax.data.preparation import prepare
from elmer_jax.data.readers import replacements
from elmer_jax.tokenizer.bpe import Vocabulary


@pytest.fixture
def config(tmp_path):
  lines = [json.dumps({"text": text}) for text in tiny_text.documents(120)]
  (tmp_path / "own.jsonl").write_text("\n".join(lines))
  return tiny.configure(
    data__task="text_lplm",
    data__files=str(tmp_path / "own.jsonl"),
    data__vocabulary_size=330,
  )


@pytest.fixture
def workdir(tmp_path):
  return str(tmp_path / "run")


def contents(folder) -> dict[str, bytes]:
  files = sorted(path for path in folder.rglob("*") if path.is_file())
  return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_own_text_becomes_batches(config, workdir, tmp_path):
  vocabulary = prepare(config, workdir)
  assert vocabulary.digest == Vocabulary.load(tmp_path / "run" / "vocabulary").digest
  for split, single_pass in (("train", False), ("validation", True)):
    batches = loader.open_batches(
      config, workdir, vocabulary, split, single_pass=single_pass
    )
    batch = batches[0]
    assert batch["source_ids"].shape == (8, 16) and batch["target_ids"].shape == (8, 12)
    assert (batch["source_ids"] == vocabulary.mask_id).any()


def test_validation_is_the_same_for_every_seed(config, workdir):
  vocabulary = prepare(config, workdir)

  def first_batch(**options):
    return loader.open_batches(config, workdir, vocabulary, "validation", **options)[0]

  before = first_batch(single_pass=True), first_batch()
  config.seed += 1
  after = first_batch(single_pass=True), first_batch()
  np.testing.assert_equal(before[0], after[0])
  assert (before[1]["source_ids"] != after[1]["source_ids"]).any()


def test_existing_data_is_not_changed(config, workdir, tmp_path):
  prepare(config, workdir)
  before = contents(tmp_path / "run")
  (tmp_path / "own.jsonl").unlink()  # the input is not needed either
  prepare(config, workdir)
  assert contents(tmp_path / "run") == before


def test_a_prepared_cache_needs_no_seqio(config, workdir):
  prepare(config, workdir)
  config.data.vocabulary = f"{workdir}/vocabulary"
  code = (
    "import sys, json, ml_collections; "
    "sys.modules.update(tensorflow=None, seqio=None); "
    "from elmer_jax.data.preparation import prepare; "
    "from elmer_jax.data import loader; "
    "config = ml_collections.ConfigDict(json.loads(sys.argv[1])); "
    "batches = loader.open_batches(config, sys.argv[2], prepare(config, sys.argv[2]), "
    "'train'); batches[3]"
  )
  arguments = [sys.executable, "-c", code, json.dumps(config.to_dict()), workdir]
  subprocess.run(arguments, check=True)


def test_a_given_vocabulary_is_used(config, workdir, tmp_path):
  own = tiny_text.vocabulary()
  own.save(tmp_path / "given")
  config.data.vocabulary = str(tmp_path / "given")
  assert prepare(config, workdir).digest == own.digest
  assert not (tmp_path / "run" / "vocabulary").exists()
  config.data.vocabulary = str(tmp_path / "nowhere")
  with pytest.raises(UserError, match="vocab.json is missing"):
    prepare(config, str(tmp_path / "other"))


def test_a_shared_cache_serves_another_run(config, workdir, tmp_path):
  config.data.cache = str(tmp_path / "shared")
  vocabulary = prepare(config, workdir)
  shutil.copytree(tmp_path / "run" / "vocabulary", tmp_path / "other" / "vocabulary")
  (tmp_path / "own.jsonl").unlink()
  assert prepare(config, str(tmp_path / "other")).digest == vocabulary.digest


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"source_length": 10}, "another length: target 11 there, target 8 here"),
    ({"files": "else.txt"}, "another files: .*own.jsonl' there, 'else.txt' here"),
  ],
)
def test_a_cache_of_another_configuration_is_refused(config, workdir, changes, message):
  vocabulary = prepare(config, workdir)
  config.data.update(changes)
  with pytest.raises(UserError, match=message):
    prepare(config, workdir)
  with pytest.raises(UserError, match=message):
    loader.open_batches(config, workdir, vocabulary, "train")


def test_another_vocabulary_is_refused(config, workdir, tmp_path):
  prepare(config, workdir)
  Vocabulary.train(tiny_text.documents(9, seed=9), 300, tmp_path / "run" / "vocabulary")
  with pytest.raises(UserError, match="another vocabulary"):
    prepare(config, workdir)


def test_missing_data_and_splits_are_errors(config, workdir):
  with pytest.raises(UserError, match="no prepared data for text_lplm: run python -m"):
    loader.open_batches(config, workdir, tiny_text.vocabulary(), "train")
  vocabulary = prepare(config, workdir)
  with pytest.raises(UserError, match="no split 'test'; it has train, validation"):
    loader.open_batches(config, workdir, vocabulary, "test")


def without_field(path):
  with path.open("a") as file:
    file.write('\n{"title": "no text"}\n')
  return path


def truncate(path):
  compressed = path.with_suffix(".jsonl.zst")
  compressed.write_bytes(zstandard.compress(path.read_bytes())[:-40])
  return compressed


@pytest.mark.parametrize(
  ("damage", "message"),
  [
    (without_field, "own.jsonl, line 121: no field 'text'"),
    (truncate, "own.jsonl.zst is cut short: its last part is missing"),
  ],
)
def test_bad_input_leaves_no_finished_cache(config, workdir, tmp_path, damage, message):
  config.data.files = str(damage(tmp_path / "own.jsonl"))
  with pytest.raises(UserError, match=message):
    prepare(config, workdir)
  assert not list((tmp_path / "run").rglob("manifest.json"))
  assert not list((tmp_path / "run").rglob("*.mixture.json"))


def test_invalid_utf8_and_empty_texts_are_logged_and_other_texts_kept(
  config, workdir, tmp_path, caplog
):
  rows = [json.dumps({"text": text}).encode() for text in tiny_text.documents(120)]
  empty = json.dumps({"text": "\n "}).encode()
  latin = b'{"text": "caf\xe9 au lait"}'
  (tmp_path / "own.jsonl").write_bytes(b"\n".join([*rows, empty, latin]))
  replacements._warn_once.cache_clear()  # another test may have logged the same
  with caplog.at_level("WARNING"):
    vocabulary = prepare(config, workdir)
  assert "empty and skipped: 1 document" in caplog.text
  assert "1 byte in 1 text of 1 file," in caplog.text
  found = ""
  documents = 0
  for split in ("train", "validation"):
    cache = open_cache(tmp_path / "run" / "cache" / "text_lplm" / split)
    documents += cache.manifest["documents"]
    windows = [cache[index]["target"] for index in range(len(cache))]
    found += vocabulary.decode(np.concatenate(windows))
  assert documents == 121
  assert "caf\ufffd au lait" in found
  assert all(text.strip() in found for text in tiny_text.documents(120))


@pytest.mark.slow
def test_a_line_of_a_hundred_megabytes_takes_bounded_memory(config, workdir, tmp_path):
  words = " ".join(tiny_text.documents(100)) + " "
  text = words * (10**8 // len(words))
  (tmp_path / "own.jsonl").write_text(json.dumps({"text": text}))
  code = (
    "import sys, json, ml_collections, resource; "
    "from elmer_jax.data.preparation import prepare; "
    "config = ml_collections.ConfigDict(json.loads(sys.argv[1])); "
    "prepare(config, sys.argv[2]); "
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
  )
  config.data.source_length = config.data.target_length = 512
  arguments = [sys.executable, "-c", code, json.dumps(config.to_dict()), workdir]
  done = subprocess.run(arguments, check=True, capture_output=True, text=True)
  assert int(done.stdout) < 1_500_000


def test_the_sides_of_own_pairs_are_logged_and_few_are_a_warning(tmp_path, caplog):
  lines = [f'{{"source": "s{n}", "target": "t"}}\n' for n in range(700)]
  for name, part in (("train", lines), ("more", lines[:100]), ("few", lines[:1])):
    (tmp_path / f"{name}.jsonl").write_text("".join(part))

  def logged(validation: str) -> str:
    config = tiny.configure(objective__name="last_layer", data__task="text_pairs")
    config.data.vocabulary_size = 280
    config.data.files = str(tmp_path / "train.jsonl")
    config.data.validation_files = validation and str(tmp_path / validation)
    caplog.clear()
    with caplog.at_level("INFO", logger="absl"):
      prepare(config, str(tmp_path / f"run-{validation}"))
    return caplog.text

  held_out = logged("")
  assert re.search(r"\d{3} pairs to train on, \d\d? pairs to validate on", held_out)
  assert "held out of the same files, pairs of one source on one side" in held_out
  assert "pairs to validate on: scores will differ by chance" in held_out
  assert "100 pairs to validate on" in logged("more.jsonl")
  assert "by chance" not in caplog.text and "held out" not in caplog.text
  assert "1 pair to validate on: scores will differ" in logged("few.jsonl")


def test_a_vocabulary_of_other_text_is_not_used(config, workdir, tmp_path):
  """A start that failed for want of text leaves one."""
  text, empty = tmp_path / "grows.txt", tmp_path / "empty.txt"
  config.data.files, config.data.validation_files = str(text), str(empty)
  text.write_text("a few words\n\nno more\n")
  empty.write_text("\n")
  with pytest.raises(UserError, match="holds no text"):
    prepare(config, str(workdir))
  few = Vocabulary.load(Path(workdir) / "vocabulary").size
  for path in (text, empty):
    path.write_text("\n\n".join(tiny_text.documents(60)))
  assert prepare(config, str(workdir)).size > few
