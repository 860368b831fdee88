# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The number of files and connections that this process may have open."""

import contextlib
import resource

# A cache of 100 GB has some 900 shards, and every process of a run connects to process
# 0. The limit of the system may be a billion, which programs exist that count up to.
_WANTED = 2**16


def raise_limit() -> None:
  """Raises the soft limit, often 1,024, as far as the hard limit allows."""
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  wanted = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
  if soft != resource.RLIM_INFINITY and soft < wanted:
    with contextlib.suppress(ValueError, OSError):  # macOS has another, lower maximum
      resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
