# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Who has come, and who is missing, before JAX starts on the same port.

JAX's own start names nobody and aborts with a stack trace where one process of many
doesn't come. So process 0 first listens itself; the others tell it their numbers and
wait for its answer, which is the same for all: go on, or the numbers of the missing.
"""

import contextlib
import re
import socket
import time

from elmer_jax.core.errors import UserError

_HELLO = "elmer_jax process "
_ALL_HERE = "all here"
_SPARE_SECONDS = 10  # that an answer may come late


def hold(address: str, count: int, index: int, seconds: float) -> None:
  """Returns once all `count` processes have called this, each with its `index`.

  Args:
    address: HOST:PORT of process 0.
    count: how many processes there are.
    index: which one this is.
    seconds: that this process waits for the others.

  Raises:
    UserError: some didn't come in time; it names them, in every process that did.
  """
  deadline = time.monotonic() + seconds
  if index == 0:
    verdict = _call(address, count, deadline)
  else:
    verdict = _answer(address, index, deadline)
  if verdict != _ALL_HERE:
    raise UserError(f"of {count} processes, {verdict} within {seconds:g} s")


def _call(address: str, count: int, deadline: float) -> str:
  """Waits for the others and tells them, and the caller, how it went."""
  port = int(address.rpartition(":")[2])
  try:
    server = _listen(port)
  except OSError as error:
    raise UserError(f"process 0 can't listen on {address}: {error.strerror}") from None
  with server, contextlib.ExitStack() as lines:
    come: dict[int, socket.socket] = {}
    while len(come) < count - 1 and (left := deadline - time.monotonic()) > 0:
      server.settimeout(left)
      try:
        line = lines.enter_context(server.accept()[0])
        line.settimeout(min(left, _SPARE_SECONDS))
        said = re.fullmatch(rf"{_HELLO}(\d+)\n", line.recv(64).decode("ascii"))
      except (OSError, ValueError):
        continue  # nobody came, or a stranger
      if said and 0 < int(said[1]) < count:
        come[int(said[1])] = line
    missing = [str(index) for index in range(1, count) if index not in come]
    verdict = f"{_named(missing)} didn't come" if missing else _ALL_HERE
    for line in come.values():
      with contextlib.suppress(OSError):
        line.sendall(verdict.encode())
  return verdict


def _listen(port: int) -> socket.socket:
  if socket.has_dualstack_ipv6():
    with contextlib.suppress(OSError):
      return socket.create_server(
        ("", port), family=socket.AF_INET6, dualstack_ipv6=True
      )
  return socket.create_server(("", port))


def _answer(address: str, index: int, deadline: float) -> str:
  """Tells process 0 that this one is here, and returns its answer."""
  host, _, port = address.rpartition(":")
  while (left := deadline - time.monotonic()) > 0:
    try:
      with socket.create_connection((host.strip("[]"), int(port)), left) as line:
        line.sendall(f"{_HELLO}{index}\n".encode())
        line.settimeout(left + _SPARE_SECONDS)
        if said := line.recv(4096).decode("ascii", "replace"):
          return said
    except OSError:
      pass
    time.sleep(min(0.2, max(left, 0)))
  return f"process 0 didn't come to {address}"


def _named(missing: list[str]) -> str:
  return f"process{'es' * (len(missing) > 1)} {', '.join(missing)}"
