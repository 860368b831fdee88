# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Several processes are one run: the same losses, and the same words when it fails."""

import concurrent.futures
import contextlib
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
from elmer_jax.parallel import processes, rendezvous

ROOT = Path(__file__).parents[2]
SMALL = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
import tiny

def get_config():
  config = tiny.configure(data__task="texts", data__files={files!r}, data__batch_size=8)
  config.train.update({{"steps": 5, "log_every": 1, "eval_every": 5}})
  config.checkpoint.every = 5
  return config
"""


@pytest.fixture
def config(tmp_path) -> Path:
  """A configuration file whose text lies beside it."""
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


def start(config: Path, workdir: Path, devices: int, *flags: str) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, "-m", "elmer_jax.train", f"--config={config}"]
    + [f"--workdir={workdir}", *flags],
    env=os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"},
    cwd=ROOT,
    stderr=subprocess.PIPE,
    text=True,
  )


def together(config: Path, workdir: Path, *flags: tuple[str, ...]) -> list[str]:
  """Runs a process with two devices for each of `flags`; returns what they said."""
  port, count = free_port(), len(flags)
  runs = [
    start(config, workdir, 2, *own, f"--distributed=localhost:{port},{count},{index}")
    for index, own in enumerate(flags)
  ]
  said = [run.communicate(timeout=240)[1] for run in runs]
  return [f"{run.returncode} {text}" for run, text in zip(runs, said, strict=True)]


def losses(workdir: Path) -> np.ndarray:
  lines = map(json.loads, (workdir / "metrics.jsonl").open())
  return np.array([line["loss"] for line in lines])


@pytest.mark.slow
@pytest.mark.parametrize(
  "mesh", [(), ("--config.mesh.fsdp=2",), ("--config.mesh.tensor=4",)]
)
def test_two_processes_make_the_losses_of_one(config, tmp_path, mesh):
  alone = start(config, tmp_path / "alone", 4, *mesh)
  assert alone.wait(240) == 0, alone.stderr.read()
  said = together(config, tmp_path / "two", mesh, mesh)
  assert [text[0] for text in said] == ["0", "0"], said
  assert "step 5/5" in said[0] and "step 5/5" not in said[1]
  ours = losses(tmp_path / "two")
  assert len(ours) == 7
  np.testing.assert_allclose(ours, losses(tmp_path / "alone"), rtol=1e-5)


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
  alone = start(config, tmp_path / "alone", 4)
  assert alone.wait(400) == 0, alone.stderr.read()
  flags = (f"--config={config}", f"--workdir={tmp_path / 'two'}")
  done = local(tmp_path / "root", ROOT / "elmer_jax", "2", "train", *flags)
  assert done.returncode == 0, done.stderr
  assert done.stderr.count("step 5/5  loss") == 1
  np.testing.assert_allclose(
    losses(tmp_path / "two"), losses(tmp_path / "alone"), rtol=1e-5
  )


ENDS = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as good as what JAX does with it
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
    ("time.sleep(9 * (index != 1))", "4", 4, "1"),  # the others are ended
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
    time.sleep(5 if ended == "1" else 0)  # who was left would be done by now
    found = sorted(path.name[-1] for path in tmp_path.glob("ended-*"))
    assert "".join(found) == ended


@pytest.mark.slow
def test_a_checkpoint_goes_on_anywhere(config, tmp_path):
  """Cut off after 3 of 5 updates on 2×2×2, ended elsewhere, as if undisturbed."""
  cube = [f"--config.mesh.{axis}=2" for axis in ("data", "fsdp", "tensor")]
  every = "--config.checkpoint.every=3"
  undisturbed = tmp_path / "undisturbed"
  run = start(config, undisturbed, 8, every, *cube)
  assert run.wait(600) == 0, run.stderr.read()
  for name, devices, flags in [
    ("rows", 8, ["--config.mesh.data=8"]),
    ("alone", 1, []),
    ("two", 2, ["--config.mesh.fsdp=2"]),
  ]:
    folder = tmp_path / name
    shutil.copytree(undisturbed, folder)
    shutil.rmtree(folder / "checkpoints" / "5")
    if name == "two":
      said = together(config, folder, (every, *flags), (every, *flags))
      assert [text[0] for text in said] == ["0", "0"], said
    else:
      run = start(config, folder, devices, every, *flags)
      assert run.wait(600) == 0, run.stderr.read()
    assert "resumed from step 3" in (said[0] if name == "two" else run.stderr.read())
    np.testing.assert_allclose(losses(folder), losses(undisturbed), rtol=1e-5)


@pytest.mark.slow
def test_a_process_that_never_comes_is_named(config, tmp_path):
  address = f"localhost:{free_port()},3"
  patience = "--distributed_timeout=20"
  runs = [
    start(config, tmp_path, 2, f"--distributed={address},{index}", patience)
    for index in (0, 2)
  ]
  for run in runs:
    said = run.communicate(timeout=240)[1]
    assert run.returncode == 2, said
    assert said == "error: of 3 processes, process 1 didn't come within 20 s\n"


MEET = """
import sys, time
from elmer_jax.core.errors import UserError
from elmer_jax.parallel import processes
processes.start(sys.argv[1])
if sys.argv[1].endswith(",1"):
  time.sleep(600)
try:
  processes.meet("the gate", 5)
except UserError as error:
  sys.exit(f"error: {error}")
"""


@pytest.mark.slow
def test_a_process_that_is_stuck_is_named():
  address = f"localhost:{free_port()},3"
  runs = [
    subprocess.Popen(
      [sys.executable, "-c", MEET, f"{address},{index}"],
      cwd=ROOT,
      stderr=subprocess.PIPE,
      text=True,
    )
    for index in range(3)
  ]
  for index in (2, 0):
    said = runs[index].communicate(timeout=240)[1]
    assert runs[index].returncode == 2, said
    assert "error: process 1 didn't come to 'the gate' within 5 s of the first" in said
  runs[1].kill()
  runs[1].communicate()


@pytest.mark.slow
def test_processes_that_disagree_all_say_so(config, tmp_path):
  said = together(config, tmp_path / "run", (), ("--config.seed=1",))
  for text in said:
    assert text.startswith("2 "), said
    assert "process 1 has another configuration than process 0" in text


@pytest.mark.slow
def test_what_fails_in_the_first_process_fails_in_all(config, tmp_path):
  missing = ("--config.data.files=nowhere.txt",)
  for text in together(config, tmp_path / "run", missing, missing):
    assert text.startswith("2 ") and "nowhere.txt: this file is missing" in text


def call_roll(present: list[int], count: int, seconds: float) -> list[str]:
  """Lets the processes `present` of `count` meet; returns what each is told."""
  port = free_port()

  def come(index: int) -> str:
    try:
      rendezvous.hold(f"localhost:{port}", count, index, seconds)
    except UserError as error:
      return str(error)
    return "on"

  with concurrent.futures.ThreadPoolExecutor(count) as pool:
    return list(pool.map(come, present))


def test_a_roll_call_waits_for_all_and_names_the_missing():
  assert call_roll([2, 0, 1], 3, seconds=60) == ["on"] * 3
  for told in call_roll([3, 0], 4, seconds=1):
    assert told == "of 4 processes, processes 1, 2 didn't come within 1 s"
  [told] = call_roll([1], 3, seconds=1)
  assert "process 0 didn't come to localhost" in told


def test_strangers_on_the_port_change_nothing():
  port = free_port()

  def knock() -> None:
    for said in (b"GET / HTTP/1.1\r\n\r\n", b"\xff", b""):
      with contextlib.suppress(OSError), socket.create_connection(("localhost", port)):
        pass
      with contextlib.suppress(OSError):
        line = socket.create_connection(("localhost", port))
        line.sendall(said)
        line.close()

  with concurrent.futures.ThreadPoolExecutor() as pool:
    first = pool.submit(rendezvous.hold, f"localhost:{port}", 2, 0, 60)
    pool.submit(knock).result()
    pool.submit(rendezvous.hold, f"localhost:{port}", 2, 1, 60).result()
    first.result()


@pytest.mark.parametrize("how", ["localhost", "localhost:1,2,2", "a:1,2", "a:b,1,0"])
def test_what_distributed_means_is_told(how):
  with pytest.raises(UserError, match="neither auto nor HOST:PORT,COUNT,INDEX"):
    processes.start(how)


def test_a_process_alone_reads_the_whole_batch():
  import jax
  import tiny

  from elmer_jax.parallel.mesh import make_mesh

  mesh = make_mesh(tiny.configure(mesh__fsdp=2, mesh__tensor=2), jax.devices())
  assert processes.share_of_batch(mesh) == (0, 1)
