# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A command that asks for huge pages: the same process, and it gets them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from elmer_jax import huge_pages

ROOT = Path(__file__).parents[2]
MB = 1 << 20

PROGRAM = f"""
import json, os, sys
from pathlib import Path
from elmer_jax import huge_pages

with open("starts", "a") as file:
  print(os.getpid(), file=file)
huge_pages.ask()
block = b"x" * {64 * MB}
lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
[huge] = [line.split()[1] for line in lines if line.startswith("AnonHugePages")]
print(json.dumps([sys.argv[1:], sys.stdin.read(), int(huge)]))
"""


def run(folder: Path, **environment: str) -> tuple[list[str], list]:
  """Returns the process of each start, and what the last one printed."""
  (folder / "program.py").write_text(PROGRAM)
  inherited = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
  done = subprocess.run(
    [sys.executable, "program.py", "--a=b c", "*"],
    input="from the pipe",
    stdout=subprocess.PIPE,
    text=True,
    cwd=folder,
    env=inherited | {"PYTHONPATH": str(ROOT)} | environment,
    check=True,
    timeout=60,
  )
  return (folder / "starts").read_text().split(), json.loads(done.stdout)


@pytest.mark.skipif(
  not huge_pages.can_be_asked_for(),
  reason="this kernel gives huge pages to everybody or to nobody",
)
def test_it_is_the_same_process_with_the_same_arguments_and_huge_pages(tmp_path):
  starts, (arguments, piped, huge) = run(tmp_path)
  assert len(starts) == 2 and len(set(starts)) == 1
  assert (arguments, piped) == (["--a=b c", "*"], "from the pipe")
  assert huge > 32 * 1024  # kilobytes


def test_whoever_decided_is_heard(tmp_path):
  starts, (arguments, piped, _) = run(
    tmp_path, GLIBC_TUNABLES="glibc.malloc.hugetlb=0:glibc.malloc.check=0"
  )
  assert len(starts) == 1
  assert (arguments, piped) == (["--a=b c", "*"], "from the pipe")
