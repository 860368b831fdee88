# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Random wrong input ends in a `UserError` of one line or in a valid result.

Each case is a function of a kind and a seed. 200 cases run by default, 2,000 with
`-m slow`; a failure names its kind and its seed.
"""

import contextlib
import gzip
import io
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import tiny
import tiny_hf
import tiny_text
import zstandard
from absl import flags
from mutations import change_bytes, change_file, odd_value

from elmer_jax import configuration
from elmer_jax.checkpoints.huggingface import hf_folder
from elmer_jax.commands.resolution import resolve
from elmer_jax.commands.run_folder import claim_run_folder
from elmer_jax.core.errors import UserError
from elmer_jax.data import prepared_data
from elmer_jax.data.datasets.local_files import pair_files_dataset, text_files_dataset
from elmer_jax.data.preparation import prepare
from elmer_jax.decoding.gate import gate_file
from elmer_jax.decoding.gate.gated_decoding import Gate
from elmer_jax.generation.source_lines import SourceLines
from elmer_jax.reports import read_run

_SECONDS = 20  # no case may take longer
_KEYS = list(configuration.flat_keys(configuration.default()))


def _pick(rng, things):
  return things[rng.integers(len(things))]


def configuration_file(rng, folder: Path, templates: Path) -> None:
  lines = [f"  c.{_pick(rng, _KEYS)} = {odd_value(rng)!r}" for _ in range(3)]
  lines = [line.replace("= nan", "= float('nan')") for line in lines]
  lines = [line.replace("= inf", "= float('inf')") for line in lines]
  head = "from elmer_jax import configuration\n\n\ndef get_config():\n"
  text = head + "  c = configuration.default()\n" + "\n".join(lines[: rng.integers(4)])
  text = text.encode("utf-8", "replace") + b"\n  return c\n"
  (folder / "own.py").write_bytes(text)
  resolved = resolve(
    ["elmer", f"--config={folder / 'own.py'}", f"--workdir={folder / 'run'}"]
  )
  configuration.check(resolved.config)
  assert not (folder / "run").exists()


def command_line(rng, folder: Path, templates: Path) -> None:
  arguments = ["elmer", f"--config={_pick(rng, ['quickstart', 'finetune_pairs', 'x'])}"]
  for _ in range(rng.integers(1, 4)):
    key, value = _pick(rng, _KEYS), str(odd_value(rng)).replace("\0", "")
    forms = (
      *(f"--config.{key}={value}", f"--config.{key}={value}", f"--config.{key}"),
      *(f"--config.{key}x={value}", f"--noconfig.{key}", f"--{key}={value}"),
      *(f"--config.{key.split('.')[0]}={value}", f"--workdir={value}", value),
    )
    arguments.append(_pick(rng, forms))
  if rng.random() < 0.8:
    arguments.append(f"--workdir={folder / 'run'}")
  resolved = resolve(arguments)
  configuration.check(resolved.config)
  assert not (folder / "run").exists()


def stored_configuration(rng, folder: Path, templates: Path) -> None:
  claim_run_folder(tiny.configure(), str(folder))
  (folder / "metrics.jsonl").touch()
  change_file(rng, folder / "config.json")
  configuration.check(resolve(["elmer", f"--workdir={folder}"]).config)


def _write_compressed(rng, path: Path, data: bytes) -> Path:
  kind = _pick(rng, ["", "", ".gz", ".zst"])
  if kind == ".gz":
    data = gzip.compress(data)
  elif kind == ".zst":
    data = zstandard.compress(data)
  if kind and rng.random() < 0.5:
    data = change_bytes(rng, data)
  path = path.with_name(path.name + kind)
  path.write_bytes(data)
  return path


def text(rng, folder: Path, templates: Path) -> None:
  data = "\n\n".join(tiny_text.documents(20, int(rng.integers(100)))).encode()
  name = _pick(rng, ["a.txt", "a", "a.jsonl", "a.csv", "a.json", "a.parquet"])
  path = _write_compressed(rng, folder / name, change_bytes(rng, data))
  spec = text_files_dataset("text_lplm", str(path))
  for split in spec.splits:
    for document in spec.read(split):
      assert document.strip()


def pairs(rng, folder: Path, templates: Path) -> None:
  texts = tiny_text.documents(20, int(rng.integers(100)), sentences=3)
  rows = [{"source": text, "target": text[:20]} for text in texts]
  if rng.random() < 0.5:
    _pick(rng, rows)[_pick(rng, ["source", "target", "more"])] = odd_value(rng)
  form = _pick(rng, ["jsonl", "json", "tsv", "csv"])
  if form == "jsonl":
    data = "".join(json.dumps(row) + "\n" for row in rows)
  elif form == "json":
    data = json.dumps(rows)
  else:
    separator = "\t" if form == "tsv" else ","
    lines = [["source", "target"], *([str(v) for v in row.values()] for row in rows)]
    data = "".join(separator.join(line).replace("\n", " ") + "\n" for line in lines)
  data = data.encode("utf-8", "surrogatepass")
  if rng.random() < 0.7:
    data = change_bytes(rng, data)
  name = f"a.{_pick(rng, [form, form, 'txt', 'tsv', 'jsonl'])}"
  path = _write_compressed(rng, folder / name, data)
  spec = pair_files_dataset("text_pairs", str(path))
  for split in spec.splits:
    for source, target, *_ in spec.read(split):
      assert isinstance(source, str) and isinstance(target, (str, list))


def source_lines(rng, folder: Path, templates: Path) -> None:
  lines = [json.dumps({"source": t, "id": 3}) for t in tiny_text.documents(5)]
  data = change_bytes(rng, "\n".join(lines).encode())
  file = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", "replace", newline="\n")
  lines = SourceLines(file, "--input=x", _pick(rng, ["source", None]))
  for found in lines.texts():
    assert isinstance(found, str) and isinstance(lines.next_fields(), dict)


def cache(rng, folder: Path, templates: Path) -> None:
  shutil.copytree(templates / "prepared", folder, dirs_exist_ok=True)
  files = sorted(path for path in (folder / "cache").rglob("*") if path.is_file())
  change_file(rng, _pick(rng, files))
  config = _text_run(templates / "prepared")
  vocabulary = tiny_text.vocabulary()
  prepare(config, str(folder))
  for found, _ in prepared_data.open_caches(config, str(folder), vocabulary, "train"):
    assert found.unigrams().shape == (vocabulary.size,)
    for index in range(len(found)):
      ids = found[index]["target"]
      assert ids.min() >= 0 and ids.max() < vocabulary.size


def hugging_face_folder(rng, folder: Path, templates: Path) -> None:
  shutil.copytree(templates / "hf", folder, dirs_exist_ok=True)
  names = ["config.json", "generation_config.json", "vocab.json", "merges.txt"]
  for _ in range(rng.integers(1, 3)):
    path = folder / _pick(rng, [*names, "config.json", "model.safetensors"])
    if path.exists():
      change_file(rng, path)
  found = hf_folder.read(str(folder))
  assert np.isfinite(found.params["tokens"]).all()
  assert 1 <= found.metadata["target_length"] <= found.config.positions


def gate(rng, folder: Path, templates: Path) -> None:
  shutil.copy(templates / "gate" / "gate.npz", folder)
  change_file(rng, folder / "gate.npz")
  found = gate_file.read(folder, tiny.model_config())
  assert found is None or 0 <= found.threshold <= 1


def results(rng, folder: Path, templates: Path) -> None:
  shutil.copytree(templates / "run", folder, dirs_exist_ok=True)
  files = sorted(path for path in folder.rglob("*.json*") if path.is_file())
  change_file(rng, _pick(rng, files))
  found = read_run.read_run(folder)
  found.metrics.curve("train", "loss")
  assert found.steps >= 0 and found.last_by_layer("loss") == []


KINDS = (
  *(configuration_file, command_line, stored_configuration, text, pairs),
  *(source_lines, cache, hugging_face_folder, gate, results),
)


def _text_run(folder: Path):
  return tiny.configure(
    data__task="text_lplm",
    data__files=str(folder / "text.txt"),
    data__vocabulary=str(folder / "vocabulary"),
  )


@pytest.fixture(scope="module")
def templates(tmp_path_factory) -> Path:
  """Right input of every kind."""
  root = tmp_path_factory.mktemp("right")
  prepared = root / "prepared"
  vocabulary = tiny_text.vocabulary()
  vocabulary.save(prepared / "vocabulary")
  (prepared / "text.txt").write_text("\n\n".join(tiny_text.documents(40)))
  prepare(_text_run(prepared), str(prepared))
  tiny_hf.write(
    root / "hf", tiny.model_config(vocabulary.size, objective__name="soft_exit")
  )
  (root / "gate").mkdir()
  numbers = Gate(np.ones((2, 32, 2)), np.ones((2, 2)), np.ones(2))
  gate_file.write(root / "gate", gate_file.Calibrated(numbers, 0.9, 1, {"loss": 0.1}))
  run = root / "run"
  claim_run_folder(tiny.configure(), str(run))
  lines = [{"step": n, "split": "train", "loss": 2.0} for n in range(3)]
  (run / "metrics.jsonl").write_text("".join(json.dumps(n) + "\n" for n in lines))
  (run / "timing.json").write_text('{"train": 3.5}')
  (run / "evaluation").mkdir()
  _, fields = read_run.RESULTS["pretrain"]
  sample = {"source": "a", "pieces": ["a"], "layers": [["a"]], "exit_layers": [1]}
  content = dict.fromkeys(fields, 2.0) | {"samples": [sample], "checkpoint_step": 2}
  (run / "evaluation" / "pretrain.json").write_text(json.dumps(content))
  return root


@contextlib.contextmanager
def _time_limit():
  def stop(*_):
    raise TimeoutError(f"more than {_SECONDS} s")

  before = signal.signal(signal.SIGALRM, stop)
  signal.alarm(_SECONDS)
  try:
    yield
  finally:
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _run_cases(kind, seeds, root: Path, templates: Path) -> None:
  accepted = 0
  for seed in seeds:
    folder = root / str(seed)
    folder.mkdir()
    try:
      with _time_limit():
        kind(np.random.default_rng(seed), folder, templates)
      accepted += 1
    except (UserError, flags.Error) as error:
      assert str(error).strip(), (kind.__name__, seed)  # noqa: PT017
    except Exception as error:
      raise AssertionError(f"kind {kind.__name__}, seed {seed}: {error!r}") from error
    shutil.rmtree(folder)
  assert accepted < len(seeds)  # what is made here is mostly wrong


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_wrong_input_is_one_line_or_a_valid_result(kind, tmp_path, templates):
  _run_cases(kind, range(20), tmp_path, templates)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_much_wrong_input_is_one_line_or_a_valid_result(kind, tmp_path, templates):
  _run_cases(kind, range(20, 220), tmp_path, templates)
