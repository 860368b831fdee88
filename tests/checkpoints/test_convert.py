# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Hugging Face folders in and out: bit-equal, or one line that names the tensor."""

import dataclasses
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import tiny_hf
import tiny_text
from safetensors import numpy as safetensors

import elmer_jax
from elmer_jax.checkpoints import initial_params
from elmer_jax.checkpoints.huggingface import bart_names, hf_folder
from elmer_jax.core.errors import UserError
from elmer_jax.decoding.incremental import Search
from elmer_jax.model import elmer

SEARCH = Search(beams=3, no_repeat_ngram=2, early_stopping=True, min_length=3)


@pytest.fixture(scope="module")
def config():
  size = tiny_text.vocabulary().size
  return tiny.model_config(size, objective__name="soft_exit", model__dropout=0.0)


@pytest.fixture
def folder(config, tmp_path) -> Path:
  """A Hugging Face folder with random weights."""
  tiny_hf.write(tmp_path / "hf", config, SEARCH)
  return tmp_path / "hf"


def convert(*arguments: str) -> subprocess.CompletedProcess:
  return subprocess.run(
    [sys.executable, "-m", "elmer_jax.convert", *arguments],
    capture_output=True,
    text=True,
  )


def test_there_and_back_is_bit_equal(config, folder, tmp_path):
  checkpoint_folder, back = tmp_path / "ours", tmp_path / "back"
  done = convert(f"--input={folder}", f"--output={checkpoint_folder}", "--to=elmer_jax")
  assert done.returncode == 0, done.stderr
  done = convert(f"--input={checkpoint_folder}", f"--output={back}", "--to=hf")
  assert done.returncode == 0, done.stderr
  expected = tiny_hf.random_tensors(config)
  found = safetensors.load_file(back / "model.safetensors")
  assert found.keys() == expected.keys()
  for name, tensor in expected.items():
    np.testing.assert_array_equal(found[name], tensor, strict=True)
  for name in ("config.json", "generation_config.json", "vocab.json", "merges.txt"):
    assert (back / name).read_bytes() == (folder / name).read_bytes()


def test_names_cover_every_parameter(config):
  """Each of our parameters leaves, and comes back where it was."""
  params = elmer.initialise(config, 0)
  padding = jnp.arange(config.padded_vocabulary_size) >= config.vocabulary_size
  params["tokens"] = jnp.where(padding[:, None], 0, params["tokens"])  # not exported
  tensors = bart_names.to_bart(jax.tree.map(np.asarray, params), config)
  assert {k: v.shape for k, v in tensors.items()} == bart_names.shapes(config)
  back = bart_names.from_bart(tensors.__getitem__, config)
  jax.tree.map(np.testing.assert_array_equal, back, params)


def test_a_folder_opens_as_it_is(folder):
  model = elmer_jax.load(str(folder))
  assert (model.objective, model.source_length, model.target_length) == (
    "soft_exit",
    24,
    10,
  )
  assert model.search == SEARCH
  assert len(elmer_jax.generate(model, ["a small list", "the window"])) == 2


def test_weights_of_a_folder_start_a_run(config, folder):
  params = initial_params.load_initial_params(
    str(folder), config, elmer.initialise(config, 1)
  )
  np.testing.assert_array_equal(
    params["tokens"][: config.vocabulary_size],
    tiny_hf.random_tensors(config)[bart_names.TABLE],
  )


def test_without_the_projection_it_is_barts(config, folder):
  tiny_hf.rewrite(folder, lambda tensors: tensors.pop(bart_names.PROJECTION))
  described = json.loads((folder / "config.json").read_text())
  del described["elmer_jax"]
  (folder / "config.json").write_text(json.dumps(described))
  model = elmer_jax.load(str(folder))
  assert model.objective == "autoregressive" and not model.config.soft_exit
  result = elmer_jax.generate(model, ["a small list"])[0]
  assert len(result.token_ids) <= 10


def test_old_files_leave_out_the_prefix_and_the_bias(config, folder):
  def age(tensors):
    for name in list(tensors):
      if name.startswith("model."):
        tensors[name.removeprefix("model.")] = tensors.pop(name)
    del tensors[bart_names.BIAS]
    tensors["encoder.version"] = np.zeros(1, np.float32)
    tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"]

  tiny_hf.rewrite(folder, age)
  params = hf_folder.read(str(folder)).params
  expected = tiny_hf.random_tensors(config)[bart_names.TABLE]
  np.testing.assert_array_equal(params["tokens"][: len(expected)], expected)
  assert not params["logits_bias"].any()


NORM = "model.decoder.layers.1.encoder_attn_layer_norm.weight"
BAD_TENSORS = {
  "missing": (lambda t: t.pop(NORM), f"tensor {NORM} is missing"),
  "extra": (
    lambda t: t.update(adapter=np.zeros(3, np.float32)),
    "unexpected tensor adapter",
  ),
  "shape": (
    lambda t: t.update({NORM: np.zeros(31, np.float32)}),
    f"tensor {NORM} has shape [31]; by config.json it must be [32]",
  ),
  "untied": (
    lambda t: t.update({"lm_head.weight": t[bart_names.TABLE] + 1}),
    "tensor lm_head.weight differs",
  ),
}


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_bad_tensors_are_named(folder, case):
  change, message = BAD_TENSORS[case]
  tiny_hf.rewrite(folder, change)
  with pytest.raises(UserError) as error:
    hf_folder.read(str(folder))
  assert message in str(error.value)
  assert str(folder / "model.safetensors") in str(error.value)


BAD_CONFIGS = {
  "mBART": ({"model_type": "mbart"}, "model_type is 'mbart'"),
  "T5": ({"model_type": "t5"}, "model_type is 't5'"),
  "ReLU": ({"activation_function": "relu"}, "activation_function is 'relu'"),
  "pre-norm": ({"normalize_before": True}, "normalize_before is True"),
  "untied": ({"tie_word_embeddings": False}, "tie_word_embeddings is False"),
  "sizes": ({"d_model": "wide"}, "d_model must be a whole number; it is 'wide'"),
  "heads": ({"encoder_attention_heads": 5}, "must divide"),
  "vocabulary": ({"vocab_size": 400}, "tensor "),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_another_architecture_is_named(folder, case):
  changes, message = BAD_CONFIGS[case]
  path = folder / "config.json"
  path.write_text(json.dumps(json.loads(path.read_text()) | changes))
  with pytest.raises(UserError) as error:
    hf_folder.read(str(folder))
  assert message in str(error.value)


def test_damaged_files_are_named(folder):
  weights = folder / "model.safetensors"
  whole = weights.read_bytes()
  weights.write_bytes(whole[: len(whole) // 2])
  with pytest.raises(UserError, match="model.safetensors is damaged"):
    hf_folder.read(str(folder))
  weights.unlink()
  with pytest.raises(UserError, match="neither model.safetensors nor"):
    hf_folder.read(str(folder))
  (folder / "config.json").write_text("{")
  with pytest.raises(UserError, match="config.json is damaged"):
    hf_folder.read(str(folder))


def test_bad_generation_settings_are_named(folder):
  path = folder / "generation_config.json"
  path.write_text(json.dumps({"num_beams": "many"}))
  with pytest.raises(UserError, match="num_beams must be a whole number; it is 'many'"):
    hf_folder.read(str(folder))


def test_a_vocabulary_that_does_not_fit_is_named(folder, tmp_path):
  other = tiny_text.Vocabulary.train(tiny_text.documents(50), 300, tmp_path / "other")
  other.save(folder)
  with pytest.raises(UserError, match=r"vocab.json has 300 tokens.*vocab_size 330"):
    hf_folder.read(str(folder))


def test_commands_end_in_one_line(folder, tmp_path):
  missing = convert(f"--input={folder}", "--to=hf")
  assert missing.returncode != 0 and "--output is missing" in missing.stderr
  there = convert(f"--input={folder}", f"--output={folder}", "--to=hf")
  assert there.returncode != 0 and "exists already" in there.stderr
  (tmp_path / "file").touch()
  for path, message in (("file", "exists already"), ("file/new", "can't be made")):
    bad = convert(f"--input={folder}", f"--output={tmp_path / path}", "--to=hf")
    assert bad.returncode == 2 and message in bad.stderr
    assert "Traceback" not in bad.stderr
  tiny_hf.rewrite(folder, lambda tensors: tensors.pop(NORM))
  cut = convert(f"--input={folder}", f"--output={tmp_path / 'new'}", "--to=elmer_jax")
  assert cut.returncode != 0 and NORM in cut.stderr and "Traceback" not in cut.stderr
  assert not (tmp_path / "new").exists()


def test_pre_norm_has_no_counterpart(config, tmp_path):
  pre = dataclasses.replace(config, norm="pre")
  with pytest.raises(UserError, match="pre-norm"):
    hf_folder.write(str(tmp_path / "x"), pre, {}, {}, tiny_text.vocabulary())
  assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_files_are_read(config, folder, legacy, monkeypatch):
  expected = hf_folder.read(str(folder)).params
  (folder / "model.safetensors").unlink()
  path = folder / "pytorch_model.bin"
  tiny_hf.write_torch(path, tiny_hf.random_tensors(config), legacy, monkeypatch)
  found = hf_folder.read(str(folder)).params
  jax.tree.map(np.testing.assert_array_equal, found, expected)
  whole = path.read_bytes()
  path.write_bytes(whole[: len(whole) // 2])
  with pytest.raises(UserError, match="pytorch_model.bin"):
    hf_folder.read(str(folder))


def test_a_torch_file_that_reaches_beyond_its_numbers_is_refused(
  config, folder, monkeypatch
):
  (folder / "model.safetensors").unlink()
  tensors = {"spy": np.zeros((4, 4), np.float32)}
  tiny_hf.write_torch(
    folder / "pytorch_model.bin", tensors, False, monkeypatch, spy=(1000, 1000)
  )
  with pytest.raises(UserError, match="spy exceeds its storage"):
    hf_folder.read(str(folder))


class _Evil:
  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return Path.touch, (self.path,)


def test_a_pickle_that_calls_something_is_refused_and_not_run(folder, tmp_path):
  (folder / "model.safetensors").unlink()
  with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
    archive.writestr("model/data.pkl", pickle.dumps(_Evil(tmp_path / "touched")))
  with pytest.raises(UserError, match="which weights don't need; it was not executed"):
    hf_folder.read(str(folder))
  assert not (tmp_path / "touched").exists()
