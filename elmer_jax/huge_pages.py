# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Memory in pages of 2 MB, for what XLA computes on a CPU.

XLA allocates the buffers of a program at every call; in pages of 4 KB a small training
step spends a fifth of its time on the kernel's mapping and clearing them.
"""

import os
import platform
import sys
from pathlib import Path

_TUNABLES = "GLIBC_TUNABLES"
_SETTING = "glibc.malloc.hugetlb"
_KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def ask() -> None:
  """Starts this very process again so that its memory comes in huge pages.

  The C library takes this setting (glibc 2.35 and later) when a process starts, and at
  no other time, so this belongs before everything else. It returns where that was done
  before, where the user decided (`GLIBC_TUNABLES=glibc.malloc.hugetlb=0`), and where
  the kernel wouldn't hear of it or gives huge pages to everybody.
  """
  chosen = os.environ.get(_TUNABLES, "")
  if _SETTING in chosen or not can_be_asked_for():
    return
  os.environ[_TUNABLES] = ":".join(filter(None, (chosen, f"{_SETTING}=1")))
  sys.stdout.flush()
  sys.stderr.flush()
  os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def can_be_asked_for() -> bool:
  """Tells whether asking makes a difference to the kernel and the C library here."""
  try:
    waits = "[madvise]" in _KERNEL.read_text()
  except OSError:  # no Linux, or a closed /sys
    return False
  return waits and platform.libc_ver()[0] == "glibc"
