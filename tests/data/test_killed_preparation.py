# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""`prepare` killed and restarted writes the same bytes as without interruption."""

import json
import os
import pathlib
import random
import subprocess
import sys
import time

import pytest
import tiny_text

ROOT = pathlib.Path(__file__).parents[2]
SHARDS = 40

# The command with small shards, so that a small corpus has many.
SCRIPT = """
from elmer_jax import prepare
from elmer_jax.commands import runner
from elmer_jax.data.cache import writer

if __name__ == "__main__":
  writer.SHARD_CHARACTERS = {characters}
  runner.run(prepare.main)
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
  """Returns a function that starts `prepare` with this many workers."""
  folder = tmp_path_factory.mktemp("corpus")
  texts = tiny_text.documents(4000, sentences=60)
  lines = [json.dumps({"text": text}) for text in texts]
  (folder / "own.jsonl").write_text("\n".join(lines))
  tiny_text.vocabulary().save(folder / "vocabulary")
  characters = sum(map(len, texts)) // SHARDS
  (folder / "small_shards.py").write_text(SCRIPT.format(characters=characters))

  def run(workdir, num_workers):
    command = [
      sys.executable,
      str(folder / "small_shards.py"),
      f"--config={ROOT}/configs/pretrain_text.py",
      f"--config.data.files={folder}/own.jsonl",
      f"--config.data.vocabulary={folder}/vocabulary",
      f"--config.data.num_workers={num_workers}",
      f"--workdir={workdir}",
    ]
    environment = os.environ | {"XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
      command,
      stderr=subprocess.PIPE,
      text=True,
      env=environment,
      start_new_session=True,
    )

  return run


def finish(process: subprocess.Popen) -> str:
  _, errors = process.communicate(timeout=300)
  assert process.returncode == 0, errors
  return errors


def contents(workdir: pathlib.Path) -> dict[str, bytes]:
  files = [path for path in (workdir / "cache").rglob("*") if path.is_file()]
  return {str(path.relative_to(workdir)): path.read_bytes() for path in files}


def shards(workdir: pathlib.Path) -> int:
  return len(list(workdir.rglob("*.arrayrecord")))


def wait_until(condition, seconds: float = 120) -> None:
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.005)


def has_processes(group: int) -> bool:
  try:
    os.killpg(group, 0)
  except ProcessLookupError:
    return False
  return True


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_preparation_killed_three_times_writes_the_same_bytes(start, tmp_path, seed):
  moments = random.Random(seed)
  for num_workers in (1, 2):
    finish(start(tmp_path / f"uninterrupted{num_workers}", num_workers))
  expected = contents(tmp_path / "uninterrupted1")
  assert contents(tmp_path / "uninterrupted2") == expected
  assert len([name for name in expected if name.endswith(".arrayrecord")]) > SHARDS / 2

  killed = tmp_path / "killed"
  for number, target in enumerate(sorted(moments.sample(range(1, SHARDS - 5), 3))):
    process = start(killed, num_workers=2 - number % 2)
    wait_until(lambda target=target: shards(killed) >= target)
    time.sleep(moments.uniform(0, 0.05))
    process.kill()
    process.communicate(timeout=60)  # would hang if a worker kept the pipe open
    assert not list(killed.rglob("manifest.json"))
    # Workers exit with the process that started them.
    group = process.pid
    wait_until(lambda group=group: not has_processes(group), 30)
  kept = {path.name: path.stat().st_ino for path in killed.rglob("*.arrayrecord")}
  log = finish(start(killed, 2))
  assert contents(killed) == expected
  again = {
    path.name: path.stat().st_ino for path in killed.rglob("train/*.arrayrecord")
  }
  assert sum(again[name] == inode for name, inode in kept.items()) >= len(kept) - 3
  assert "tokens per CPU-second" in log
