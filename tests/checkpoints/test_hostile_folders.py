# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Hugging Face folders that are wrong or hostile: one line, soon, in little memory."""

import json
import os
import pickle
import resource
import shutil
import zipfile

import ml_dtypes
import numpy as np
import pytest
import tiny
import tiny_hf
import tiny_text
from safetensors import numpy as safetensors

from elmer_jax.checkpoints.huggingface import bart_names, hf_folder, torch_file
from elmer_jax.core.errors import UserError

BIAS = "model.decoder.layers.1.fc1.bias"


@pytest.fixture(scope="module")
def config():
  return tiny.model_config(
    tiny_text.vocabulary().size, objective__name="soft_exit", model__dropout=0.0
  )


@pytest.fixture(scope="module")
def original(config, tmp_path_factory):
  folder = tmp_path_factory.mktemp("hf")
  tiny_hf.write(folder, config)
  return folder


@pytest.fixture
def folder(original, tmp_path):
  return shutil.copytree(original, tmp_path / "hf")


def change(folder, name, **values):
  path = folder / name
  path.write_text(json.dumps(json.loads(path.read_text()) | values))


NULLS = {
  "dropout": 0.1,
  "init_std": 0.02,
  "scale_embedding": False,
  "activation_function": None,
  "tie_word_embeddings": None,
}


def test_null_is_the_default_and_a_whole_float_an_integer(folder):
  change(folder, "config.json", **dict.fromkeys(NULLS), d_model=32.0, elmer_jax=None)
  nulls = dict.fromkeys(("min_length", "no_repeat_ngram_size", "length_penalty"))
  change(folder, "generation_config.json", **nulls, num_beams=2.0, max_length=None)
  found = hf_folder.read(str(folder))
  assert (found.config.dropout, found.config.init_stddev) == (0.1, 0.02)
  assert found.config.scale_embedding is False and found.config.d_model == 32
  assert found.metadata["generation"]["beams"] == 2
  assert found.metadata["target_length"] == 40  # the model's positions


FIELDS = [
  ("config.json", {"dropout": "0.1"}, "dropout must be a number; it is '0.1'"),
  ("config.json", {"dropout": 1.5}, "model.dropout must be from 0 to 1"),
  (
    "config.json",
    {"scale_embedding": "false"},
    "must be true or false",
  ),
  ("config.json", {"d_model": 2.5}, "d_model must be a whole number"),
  ("config.json", {"d_model": None}, "d_model is missing"),
  ("config.json", {"encoder_layers": 10**9}, "model.encoder_layers must be from 1"),
  ("config.json", {"vocab_size": 10**18}, "model.vocabulary_size must be from 1"),
  ("config.json", {"elmer_jax": []}, "elmer_jax must be an object"),
  ("config.json", {"elmer_jax": {"objective": "poetry"}}, "'poetry' is not one of"),
  ("config.json", {"elmer_jax": {"objective": 3}}, "objective must be a string"),
  ("config.json", {"elmer_jax": {"source_length": "48"}}, "source_length must be a"),
  (
    "config.json",
    {"elmer_jax": {"source_length": 10**9}},
    "length must be from",
  ),
  (
    "config.json",
    {"elmer_jax": {"exit_threshold": float("nan")}},
    "threshold must",
  ),
  ("config.json", {"elmer_jax": {}, "max_length": -1}, "target_length must be from 1"),
  ("generation_config.json", {"num_beams": "4"}, "num_beams must be a whole number"),
  ("generation_config.json", {"num_beams": 10**9}, "beams must be from 1 to 1024"),
  (
    "generation_config.json",
    {"length_penalty": "x"},
    "penalty must be a number",
  ),
  ("generation_config.json", {"min_length": [3]}, "min_length must be a whole number"),
]


@pytest.mark.parametrize(("name", "values", "message"), FIELDS)
def test_a_field_of_another_type_or_range_is_named(folder, name, values, message):
  if name != "config.json":
    change(folder, "config.json", elmer_jax=None)
  else:
    (folder / "generation_config.json").unlink()
  change(folder, name, **values)
  with pytest.raises(UserError, match=message) as error:
    hf_folder.read(str(folder))
  assert str(folder) in str(error.value)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, bool, np.complex64])
def test_weights_that_are_no_floating_point_numbers_are_refused(folder, dtype):
  tiny_hf.rewrite(folder, lambda t: t.update({BIAS: t[BIAS].astype(dtype)}))
  with pytest.raises(UserError, match=f"{BIAS} (is of|can't be read)"):
    hf_folder.read(str(folder))


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_weights_of_other_precision_are_read(folder, config, dtype):
  tiny_hf.rewrite(folder, lambda t: t.update({BIAS: t[BIAS].astype(dtype)}))
  found = hf_folder.read(str(folder)).params
  bias = found["decoder"]["layers"]["feed_forward"]["up_proj"]["bias"][1]
  expected = tiny_hf.random_tensors(config)[BIAS].astype(dtype).astype(np.float32)
  np.testing.assert_array_equal(bias, expected)


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e300])
def test_weights_that_are_not_finite_are_refused(folder, number):
  wrong = np.full(64, number, np.float64)
  tiny_hf.rewrite(folder, lambda t: t.update({BIAS: wrong}))
  with pytest.raises(UserError, match=f"{BIAS} has numbers that are not finite"):
    hf_folder.read(str(folder))


def shard(folder, names_of_second):
  """Divides the weights into two files with an index."""
  whole = folder / "model.safetensors"
  tensors = safetensors.load_file(whole)
  whole.unlink()
  second = {name: tensors[name] for name in names_of_second}
  first = {name: array for name, array in tensors.items() if name != BIAS}
  files = {"first.safetensors": first, "second.safetensors": second}
  for name, part in files.items():
    safetensors.save_file(part, folder / name)
  places = {tensor: name for name, part in files.items() for tensor in part}
  (folder / "model.safetensors.index.json").write_text(
    json.dumps({"weight_map": places})
  )


def test_a_tensor_in_two_shards_is_refused(folder):
  shard(folder, [BIAS, bart_names.TABLE])
  with pytest.raises(UserError, match="model.shared.weight is in another file as well"):
    hf_folder.read(str(folder))


@pytest.mark.parametrize(
  "name", ["../../outside.safetensors", "/etc/passwd", "", "..", 3, None, {}]
)
def test_an_index_names_no_file_outside_its_folder(folder, name):
  shard(folder, [BIAS])
  hf_folder.read(str(folder))
  change(folder, "model.safetensors.index.json", weight_map={BIAS: name})
  with pytest.raises(UserError, match="is damaged .* is not the name of a file"):
    hf_folder.read(str(folder))


def test_a_pipe_for_a_file_is_not_waited_for(folder):
  for name in ("model.safetensors", "vocab.json", "merges.txt", "config.json"):
    (folder / name).rename(folder / "aside")
    os.mkfifo(folder / name)
    with pytest.raises(UserError, match=f"{name} is not a regular file|config.json"):
      hf_folder.read(str(folder))
    (folder / name).unlink()
    (folder / "aside").rename(folder / name)


def archive(path, content: bytes, compression=zipfile.ZIP_STORED, **more: bytes):
  with zipfile.ZipFile(path, "w", compression) as file:
    file.writestr("model/data.pkl", content)
    for name, data in more.items():
      file.writestr(f"model/data/{name}", data)


# Each pickles something that once hung, crashed, or took gigabytes.
_STORAGE = b"((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\n%stQ"
_TENSOR = (
  b"\x80\x02}S'a'\nctorch._utils\n_rebuild_tensor_v2\n"
  + _STORAGE
  + b"I0\n(%st(%stI00\n}tRs."
)
PICKLES = {
  "nested tuples as a key": b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"Ns.",
  "nested tuples as a pair": b"\x80\x02ccollections\nOrderedDict\n(]("
  + b")"
  + b"\x85" * 200_000
  + b"NltatR.",
  "nested lists": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
  "many lists": b"\x80\x02" + b"]" * 2**21 + b".",
  "a long string": b"\x80\x02X\xff\xff\xff\x7fabc.",
  "a large memo": b"\x80\x02}r\xff\xff\xff\x7f.",
  "an infinite size": _TENSOR % (b"F1e999\n", b"I1\n", b"I1\n"),
  "a negative size": _TENSOR % (b"I-4\n", b"I1\n", b"I1\n"),
  "a size of a million digits": _TENSOR % (b"S'" + b"9" * 10**6 + b"'\n", b"I1\n", b""),
  "a huge shape": _TENSOR % (b"I4\n", b"I1000000000\nI1000000000\n", b"I0\nI0\n"),
  "a huge storage": _TENSOR % (b"I1000000000000\n", b"I1000000000000\n", b"I1\n"),
  "a storage that is missing": _TENSOR % (b"I4\n", b"I4\n", b"I1\n"),
  "a set": pickle.dumps({1, 2}),
  "no dictionary": b"\x80\x02].",
  "nothing": b"",
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("case", PICKLES)
def test_a_hostile_pickle_is_one_line(folder, case, legacy):
  path = folder / "pytorch_model.bin"
  (folder / "model.safetensors").unlink()
  if legacy:
    numbers = (torch_file._LEGACY_MAGIC, torch_file._LEGACY_PROTOCOL)
    head = [*numbers, {"little_endian": True}]
    path.write_bytes(b"".join(pickle.dumps(n, 2) for n in head) + PICKLES[case])
  else:
    archive(path, PICKLES[case])
  before = resource.getrusage(resource.RUSAGE_SELF)
  with pytest.raises(UserError, match="pytorch_model.bin") as error:
    hf_folder.read(str(folder))
  after = resource.getrusage(resource.RUSAGE_SELF)
  assert "\n" not in str(error.value) and len(str(error.value)) < 1000
  assert after.ru_utime - before.ru_utime < 15
  assert after.ru_maxrss - before.ru_maxrss < 2**20  # KiB


def test_a_compressed_archive_is_refused_before_it_is_inflated(folder):
  (folder / "model.safetensors").unlink()
  path = folder / "pytorch_model.bin"
  archive(path, b"\x80\x02}.", zipfile.ZIP_DEFLATED, a=bytes(2**26))
  assert path.stat().st_size < 2**20
  with pytest.raises(UserError, match="it is compressed"):
    hf_folder.read(str(folder))


@pytest.mark.parametrize("seed", range(30))
def test_flipped_and_cut_bytes_are_one_line_or_harmless(
  folder, config, seed, monkeypatch
):
  rng = np.random.default_rng(seed)
  path = folder / "model.safetensors"
  if seed % 3:
    path.unlink()
    path = folder / "pytorch_model.bin"
    arrays = tiny_hf.random_tensors(config)
    tiny_hf.write_torch(path, arrays, seed % 3 == 1, monkeypatch)
  data = bytearray(path.read_bytes())
  if seed % 2:
    del data[rng.integers(len(data)) :]
  else:
    for place in rng.integers(0, min(len(data), 20_000), 8):
      data[place] ^= 1 << rng.integers(8)
  path.write_bytes(data)
  try:
    found = hf_folder.read(str(folder))
  except UserError as error:
    assert path.name in str(error)  # noqa: PT017
  else:
    assert np.isfinite(found.params["tokens"]).all()
