# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Several processes train as one does, and fail together with the same message."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_text

from elmer_jax.core.errors import UserError
from elmer_jax.parallel import processes

ROOT = Path(__file__).parents[2]
FAST_COMPILATION = (
  "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)
SMALL = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
import tiny

def get_config():
  config = tiny.configure(data__task="texts", data__files={files!r}, data__batch_size=8)
  config.train.update({{"steps": 3, "log_every": 1, "eval_every": 3}})
  config.checkpoint.every = 3
  return config
"""


@pytest.fixture
def config(tmp_path) -> Path:
  """A configuration file, with a text in the same folder."""
  text = tmp_path / "text.txt"
  text.write_text("\n\n".join(tiny_text.documents(60)))
  path = tmp_path / "small.py"
  names = {"root": str(ROOT), "tests": str(ROOT / "tests"), "files": str(text)}
  path.write_text(SMALL.format(**names))
  return path


def free_port() -> int:
  with socket.socket() as free:
    free.bind(("localhost", 0))
    return free.getsockname()[1]


def run_python(devices: int, *arguments) -> subprocess.Popen:
  """Starts a Python process with this many devices, whose programs compile fast."""
  flags = f"--xla_force_host_platform_device_count={devices} {FAST_COMPILATION}"
  return subprocess.Popen(
    [sys.executable, *arguments],
    env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)},
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def start(config: Path, workdir: Path, devices: int, *flags: str) -> subprocess.Popen:
  arguments = ["-m", "elmer_jax.train", f"--config={config}", f"--workdir={workdir}"]
  return run_python(devices, *arguments, *flags)


def start_all(
  config: Path, workdir: Path, *flags: tuple[str, ...]
) -> list[subprocess.Popen]:
  """Starts a process with two devices for each of `flags`."""
  address = f"localhost:{free_port()},{len(flags)}"
  return [
    start(config, workdir, 2, *own, f"--distributed={address},{index}")
    for index, own in enumerate(flags)
  ]


def finish(run: subprocess.Popen) -> tuple[int, str, str]:
  """Returns exit status, output and errors."""
  output, errors = run.communicate(timeout=600)
  return run.returncode, output, errors


def losses(workdir: Path) -> np.ndarray:
  lines = map(json.loads, (workdir / "metrics.jsonl").open())
  return np.array([line["loss"] for line in lines])


def test_two_processes_train_as_one(config, tmp_path):
  fsdp = ("--config.mesh.fsdp=2",)
  single = start(config, tmp_path / "single", 4, *fsdp)
  runs = start_all(config, tmp_path / "two", fsdp, fsdp)
  status, _, errors = finish(single)
  assert status == 0, errors
  (first, _, log), (second, _, silent) = map(finish, runs)
  assert (first, second) == (0, 0), log + silent
  assert "step 3/3" in log and "step 3/3" not in silent
  assert not list((tmp_path / "two").glob(".*"))
  found = losses(tmp_path / "two")
  assert len(found) == 5
  np.testing.assert_allclose(found, losses(tmp_path / "single"), rtol=1e-5)


def test_four_processes_that_are_not_contiguous_train_as_one():
  script = str(ROOT / "tests" / "tiny_steps.py")
  address = f"localhost:{free_port()},4"
  single = run_python(8, script)
  runs = [run_python(2, script, f"{address},{index}") for index in range(4)]
  status, output, errors = finish(single)
  assert status == 0, errors
  expected = json.loads(output)
  assert expected["rows"] == list(range(16))
  half = [*range(4), *range(8, 12)]
  for index, run in enumerate(runs):
    status, output, errors = finish(run)
    assert status == 0, errors
    found = json.loads(output.splitlines()[-1])
    assert found["rows"] == [row + 4 * (index // 2) for row in half]
    np.testing.assert_allclose(found["results"], expected["results"], rtol=1e-5)


def local(folder: Path, package: Path, *arguments: str) -> subprocess.CompletedProcess:
  """Runs launch/local.sh on a package, with this interpreter and nothing installed."""
  (folder / "launch").mkdir(parents=True)
  (folder / "elmer_jax").symlink_to(package)
  shutil.copy(ROOT / "launch" / "local.sh", folder / "launch")
  (folder / "launch" / "install.sh").write_text(f"echo {sys.executable}\n")
  return subprocess.run(
    ["bash", str(folder / "launch" / "local.sh"), *arguments],
    env=os.environ | {"XLA_FLAGS": "", "DEVICES": "2"},
    cwd=folder,
    capture_output=True,
    text=True,
    timeout=400,
  )


@pytest.mark.slow
def test_the_local_launcher_makes_the_losses_of_one_process(config, tmp_path):
  status, _, errors = finish(start(config, tmp_path / "single", 4))
  assert status == 0, errors
  flags = (f"--config={config}", f"--workdir={tmp_path / 'two'}")
  done = local(tmp_path / "root", ROOT / "elmer_jax", "2", "train", *flags)
  assert done.returncode == 0, done.stderr
  assert done.stderr.count("step 3/3  loss") == 1
  np.testing.assert_allclose(
    losses(tmp_path / "two"), losses(tmp_path / "single"), rtol=1e-5
  )


ENDS = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
index = int(sys.argv[-1].rpartition(",")[2])
{wait}
open(sys.argv[1] + str(index), "w").close()
sys.exit({status})
"""


@pytest.mark.parametrize(
  ("wait", "status", "expected", "ended"),
  [
    ("", "0", 0, "012"),
    ("", "4", 4, None),  # all at once
    ("time.sleep(9 * (index != 1))", "4", 4, "1"),  # the others are terminated
    ("time.sleep(index / 2)", "5 * (index == 2)", 5, "012"),  # the last one
  ],
)
def test_the_local_launcher_ends_with_the_first_failure(
  tmp_path, wait, status, expected, ended
):
  package = tmp_path / "package"
  package.mkdir()
  (package / "__init__.py").write_text("")
  (package / "ends.py").write_text(ENDS.format(wait=wait, status=status))
  done = local(tmp_path / "root", package, "3", "ends", f"{tmp_path}/ended-")
  assert done.returncode == expected, done.stderr
  if ended:
    time.sleep(5 if ended == "1" else 0)  # a process still running would end now
    found = sorted(path.name[-1] for path in tmp_path.glob("ended-*"))
    assert "".join(found) == ended


@pytest.mark.slow
def test_a_checkpoint_resumes_on_any_mesh(config, tmp_path):
  """Saved after 2 of 3 steps on 2x2x2, resumed on other meshes, as if uninterrupted."""
  cube = [f"--config.mesh.{axis}=2" for axis in ("data", "fsdp", "tensor")]
  every = "--config.checkpoint.every=2"
  whole = tmp_path / "whole"
  status, _, errors = finish(start(config, whole, 8, every, *cube))
  assert status == 0, errors
  for name, devices, flags in [
    ("data", 8, ["--config.mesh.data=8"]),
    ("one", 1, []),
    ("two", 2, ["--config.mesh.fsdp=2"]),
  ]:
    folder = tmp_path / name
    shutil.copytree(whole, folder)
    shutil.rmtree(folder / "checkpoints" / "3")
    if name == "two":
      runs = start_all(config, folder, (every, *flags), (every, *flags))
    else:
      runs = [start(config, folder, devices, every, *flags)]
    results = list(map(finish, runs))
    assert {status for status, *_ in results} == {0}, results
    assert "resumed from" in results[0][2]
    np.testing.assert_allclose(losses(folder), losses(whole), rtol=1e-5)


CHECKS = """
import sys
from pathlib import Path
import tiny
from elmer_jax.core.errors import UserError
from elmer_jax.parallel import processes

address, folder = sys.argv[1:]
index = int(address[-1])
processes.start(address)

def attempt(function, *arguments):
  try:
    print(function(*arguments))
  except UserError as error:
    print(error)

def fail():
  raise UserError("nowhere.txt: this file doesn't exist")

def fail_on_second():
  if index == 1:
    fail()
  return "opened"

def write():
  with (Path(folder) / "written").open("x") as file:
    return file.write("all")

attempt(processes.check_agreement, tiny.configure(data__batch_size=8 + index % 2), 60)
attempt(processes.run_on_first_process, "failing work", fail)
attempt(processes.run_on_first_process, "work", write)
attempt(processes.run_on_all_processes, "opening", fail_on_second, 60)
processes.check_shared_folder("--workdir", folder, 60)
own = Path(folder) / str(index // 2)
own.mkdir(exist_ok=True)
attempt(processes.check_shared_folder, "--output", str(own), 60, 2)
if index != 1:
  attempt(processes.barrier, "the gate", 3)
else:
  sys.stdin.read()
"""


def test_processes_fail_together_with_the_same_message(tmp_path):
  address = f"localhost:{free_port()},3"
  runs = [
    subprocess.Popen(
      [sys.executable, "-c", CHECKS, f"{address},{index}", str(tmp_path)],
      env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for index in range(3)
  ]
  for index in (2, 0):
    status, output, errors = finish(runs[index])
    assert status == 2, errors
    differs, fails, works, opens, separate, timeout = [
      line for line in output.splitlines() if line and "[Gloo]" not in line
    ]
    assert differs.startswith("process 1 has another configuration than process 0")
    assert fails == "nowhere.txt: this file doesn't exist"
    assert works == ("3" if index == 0 else "None")  # only process 0 writes
    assert opens == "process 1: nowhere.txt: this file doesn't exist"
    assert "process 2 doesn't see what process 0 writes there" in separate
    assert timeout == "timed out after 3 s at 'the gate' waiting for process 1"
  runs[1].kill()
  runs[1].communicate()
  assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "written"]


WAITS = """
import sys, time
from elmer_jax.parallel import processes

processes.start(sys.argv[1])
print("started", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("lost", [1, 0])
def test_a_killed_process_ends_the_others_with_a_line_that_names_it(lost):
  address = f"localhost:{free_port()},3"
  runs = [run_python(1, "-c", WAITS, f"{address},{index}") for index in range(3)]
  for run in runs:
    assert run.stdout.readline() == "started\n"
  start = time.monotonic()
  runs[lost].kill()
  for index, run in enumerate(runs):
    status, _, errors = finish(run)
    if index != lost:
      assert status == 75, errors
      line = errors.splitlines()[-1]
      assert line.startswith(f"process {lost} has ended: start all processes again")
  assert time.monotonic() - start < 60  # JAX alone would notice after 130


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_timeouts_must_be_finite(timeout):
  with pytest.raises(UserError, match="distributed_timeout"):
    processes.start("localhost:1,1,0", timeout)
  with pytest.raises(UserError, match="heartbeat_timeout"):
    processes.start("localhost:1,1,0", 1, timeout)


@pytest.mark.parametrize(
  "distributed",
  ["localhost", "localhost:1,2,2", "a:1,2", "a:b,1,0", "a:0,1,0", "a:65536,1,0"],
)
def test_invalid_addresses(distributed):
  with pytest.raises(UserError, match="neither auto nor HOST:PORT,COUNT,INDEX"):
    processes.start(distributed)
