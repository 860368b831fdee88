# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Runs that are killed, stopped and damaged at random end as undisturbed ones do.

    bash launch/test.sh -n 0 -m slow tests/chaos

CHAOS_SEED chooses the times and the damages.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_text

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("CHAOS_SEED", "0"))
STEPS, EVERY = 800, 5
CONFIG = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
import tiny

def get_config():
  config = tiny.configure(data__task="texts", data__files={files!r}, data__batch_size=8)
  config.train.update({{"steps": {steps}, "log_every": 20, "eval_every": 200}})
  config.checkpoint.every = {every}
  return config
"""
# Depend on the time alone.
TIMES = ("seconds", "per_second", "goodput")


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
  folder = tmp_path_factory.mktemp("chaos")
  (folder / "text.txt").write_text("\n\n".join(tiny_text.documents(60)))
  names = {"root": str(ROOT), "tests": str(ROOT / "tests")}
  names |= {"files": str(folder / "text.txt"), "steps": STEPS, "every": EVERY}
  path = folder / "small.py"
  path.write_text(CONFIG.format(**names))
  return path


def start(config: Path, workdir: Path) -> subprocess.Popen:
  command = [sys.executable, "-m", "elmer_jax.train", f"--config={config}"]
  flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
  return subprocess.Popen(
    [*command, f"--workdir={workdir}"],
    env=os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flags},
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(run: subprocess.Popen) -> tuple[int, str]:
  output, _ = run.communicate(timeout=600)
  assert "Traceback" not in output, output
  return run.returncode, output


def points(workdir: Path) -> list[dict]:
  lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  return [
    {name: v for name, v in line.items() if not any(t in name for t in TIMES)}
    for line in lines
  ]


def steps(workdir: Path) -> list[int]:
  folder = workdir / "checkpoints"
  found = [path.name for path in folder.iterdir()] if folder.exists() else []
  return sorted(int(name) for name in found if name.isdecimal())


def is_saving(workdir: Path) -> bool:
  folder = workdir / "checkpoints"
  return folder.exists() and any("tmp" in path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory) -> list[dict]:
  workdir = tmp_path_factory.mktemp("undisturbed")
  status, output = finish(start(config, workdir))
  assert status == 0, output
  return points(workdir)


def assert_as_undisturbed(workdir: Path, undisturbed: list[dict]) -> None:
  assert points(workdir) == undisturbed
  stray = [path for path in workdir.rglob("*") if "tmp" in path.name.lower()]
  assert not stray and not list(workdir.glob(".*"))


def wait_until_it_trains(run: subprocess.Popen, workdir: Path, before: int) -> None:
  while run.poll() is None and (steps(workdir) or [0])[-1] <= before:
    time.sleep(0.02)


def test_killed_at_random(config, undisturbed, tmp_path):
  """25 times, at least five of them during a save."""
  rng, in_save = random.Random(SEED), 0
  for kill in range(25):
    before = (steps(tmp_path) or [0])[-1]
    run = start(config, tmp_path)
    wait_until_it_trains(run, tmp_path, before)
    time.sleep(rng.uniform(0, 0.5))
    deadline = time.monotonic() + 10
    while kill % 2 and not is_saving(tmp_path) and time.monotonic() < deadline:
      pass
    assert run.poll() is None, f"it ended before kill {kill}: {finish(run)}"
    run.send_signal(signal.SIGSTOP)  # what is on disk now stays so
    in_save += is_saving(tmp_path)
    run.kill()
    run.wait()
  status, output = finish(start(config, tmp_path))
  assert status == 0, output
  print(f"{in_save} of 25 kills were during a save")
  assert in_save >= 5
  assert_as_undisturbed(tmp_path, undisturbed)


def test_stopped_at_random(config, undisturbed, tmp_path):
  rng = random.Random(SEED)
  for number in (signal.SIGTERM, signal.SIGINT) * 3:
    before = (steps(tmp_path) or [0])[-1]
    run = start(config, tmp_path)
    wait_until_it_trains(run, tmp_path, before)
    time.sleep(rng.uniform(0, 0.5))
    run.send_signal(number)
    status, output = finish(run)
    assert status == {signal.SIGTERM: 75, signal.SIGINT: 130}[number], output
    assert output.splitlines()[-1] == f"stopped by {number.name}"
    assert f"step {steps(tmp_path)[-1]} of {STEPS} is saved" in output
  status, output = finish(start(config, tmp_path))
  assert status == 0, output
  assert_as_undisturbed(tmp_path, undisturbed)


def test_interrupted_in_the_stages_before_a_step(config, undisturbed, tmp_path):
  """Importing, preparing, compiling, restoring: whatever runs after this time."""
  rng = random.Random(SEED)
  for _ in range(6):
    run = start(config, tmp_path)
    time.sleep(rng.uniform(1.5, 6))  # the command itself is loaded by then
    run.send_signal(signal.SIGINT)
    status, output = finish(run)
    assert status == 130, output
    assert output.splitlines()[-1] == "stopped by SIGINT"
  status, output = finish(start(config, tmp_path))
  assert status == 0, output
  assert_as_undisturbed(tmp_path, undisturbed)


def test_the_newest_checkpoint_is_damaged_at_random(config, undisturbed, tmp_path):
  rng = random.Random(SEED)
  for _ in range(5):
    before = (steps(tmp_path) or [0])[-1]
    run = start(config, tmp_path)
    wait_until_it_trains(run, tmp_path, before)
    time.sleep(rng.uniform(0, 0.5))
    run.kill()
    run.wait()
    newest = tmp_path / "checkpoints" / str(steps(tmp_path)[-1])
    files = [path for path in newest.rglob("*") if path.is_file()]
    for path in rng.sample(files, 3):
      content = bytearray(path.read_bytes())
      for _ in range(min(16, len(content))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
      path.write_bytes(content[: rng.choice([len(content), len(content) // 2])])
  status, output = finish(start(config, tmp_path))
  assert status == 0, output
  assert points(tmp_path) == undisturbed
