# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""launch/tpu_vm.sh with a stand-in for gcloud: which calls, in which order."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Appends its arguments to `calls` and simulates a VM that may be preempted: `script`
# has how each start of the command ends, `state` what `describe` prints.
GCLOUD = """#!/usr/bin/env bash
cd "$(dirname "$0")"
line="$*"
echo "${line//$'\\n'/ }" >>calls
case "$line" in
  *" describe "*) [[ -s state ]] && cat state ;;
  *" create "*) echo "$CREATED" >state ;;
  *" delete "*) rm state ;;
  *" -m elmer_jax."*)
    read -r ending <script
    sed -i 1d script
    [[ $ending == done ]] && echo "step 5/5" && exit
    [[ $ending == preempted ]] && echo PREEMPTED >state
    exit 3 ;;
esac
"""


@pytest.fixture
def launch(tmp_path):
  """Returns a function that runs the script in a new repository."""
  folder = tmp_path / "bin"
  folder.mkdir()
  (folder / "gcloud").write_text(GCLOUD)
  (folder / "gcloud").chmod(0o755)
  repository = tmp_path / "repository"
  (repository / "launch").mkdir(parents=True)
  for name in ("tpu_vm.sh", "overlap_flags.txt"):
    shutil.copy(ROOT / "launch" / name, repository / "launch")
  for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *who, *command], cwd=repository, check=True)

  def run(*arguments: str, endings=("done",), state="", **variables: str):
    (folder / "script").write_text("".join(f"{ending}\n" for ending in endings))
    (folder / "state").write_text(state)
    given = {"TPU": "pod", "ZONE": "z", "WAIT": "0", "CREATED": "READY"}
    path = {"PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(
      ["bash", "launch/tpu_vm.sh", *arguments],
      cwd=repository,
      env=os.environ | path | given | variables,
      capture_output=True,
      text=True,
      timeout=60,
    )
    calls = folder / "calls"
    lines = calls.read_text().splitlines() if calls.exists() else []
    return done, lines

  return run


def verbs(calls: list[str]) -> list[str]:
  """Returns what each call does: 'tpu-vm create', 'run' for the command itself."""

  def verb(call: str) -> str:
    if "elmer_jax.train" in call:
      return "run"
    return "install" if "install.sh" in call else " ".join(call.split()[2:4])

  return [verb(call) for call in calls]


START = ["tpu-vm scp", "install", "run"]


def test_a_vm_is_created_and_recreated_after_a_preemption(launch):
  flags = ("--config=configs/quickstart.py", "--config.data.files=a b/*.txt")
  done, calls = launch("train", *flags, endings=("preempted", "done"))
  assert done.returncode == 0, done.stderr
  assert "step 5/5" in done.stdout
  poll, create = "tpu-vm describe", "tpu-vm create"
  creation = [poll, create, poll, *START]
  assert verbs(calls) == [*creation, poll, poll, "tpu-vm delete", *creation]
  assert all(call.endswith("--zone=z") for call in calls)
  assert "--accelerator-type=v4-8" in calls[1] and "--spot" in calls[1]
  for call in calls[3:6]:
    assert "--worker=all" in call
  assert calls[5].endswith(
    "-m elmer_jax.train --config=configs/quickstart.py "
    r"--config.data.files=a\ b/\*.txt --distributed=auto --zone=z"
  )
  assert calls[5] == calls[-1]
  assert "pod is PREEMPTED" in done.stderr


def test_the_options_of_the_compiler_can_be_added_to_and_left_out(launch):
  option = "--xla_tpu_overlap_compute_collective_tc=true"
  _, calls = launch("train", state="READY")
  assert f"{option} " in calls[3] and "xla_gpu" not in calls[3]
  _, calls = launch("train", state="READY", LIBTPU_INIT_ARGS="--mine=1", OVERLAP="")
  assert "LIBTPU_INIT_ARGS=' --mine=1'" in calls[-1] and option not in calls[-1]


def test_an_existing_vm_is_used_and_a_failure_has_the_status_of_the_command(launch):
  done, calls = launch("train", endings=("failed",), state="READY")
  assert done.returncode == 3
  assert verbs(calls) == ["tpu-vm describe", *START, "tpu-vm describe"]


def test_a_queued_vm_is_awaited(launch):
  done, calls = launch("train", QUEUED="1", CREATED="ACTIVE")
  assert done.returncode == 0, done.stderr
  queue = [f"queued-resources {verb}" for verb in ("describe", "create", "describe")]
  assert verbs(calls) == [*queue, *START]
  assert "--node-id=pod" in calls[1] and "--runtime-version=" in calls[1]


def test_the_number_of_attempts_is_limited(launch):
  done, calls = launch("train", endings=("preempted",) * 2, ATTEMPTS="2")
  assert done.returncode == 1
  assert verbs(calls).count("run") == 2


def test_a_dry_run_prints_calls_without_making_them(launch):
  done, calls = launch("--dry_run", "train", "--workdir=W")
  assert done.returncode == 0 and calls == []
  lines = done.stdout.replace("'", "").splitlines()
  printed = [line for line in lines if line.startswith("gcloud")]
  assert [line.split()[4] for line in printed] == [
    *("describe", "create", "scp", "ssh", "ssh")
  ]
  assert "--workdir=W --distributed=auto" in lines[-1]


def test_a_missing_command_is_an_error(launch):
  for arguments in ((), ("--config=x",), ("--dry_run",)):
    done, calls = launch(*arguments)
    assert done.returncode == 2 and calls == []
    assert done.stderr.startswith("usage: ")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="needs shellcheck")
def test_shellcheck_finds_nothing():
  scripts = sorted((ROOT / "launch").glob("*.sh"))
  done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True)
  assert done.returncode == 0, done.stdout
