# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""All processes of a run wait for each other before JAX starts on the same port.

JAX's own start aborts with a stack trace where a process is missing, and doesn't name
it. So process 0 listens first; the others connect, send their index and wait for the
same answer: to go on, or which processes are missing.
"""

import contextlib
import errno
import ipaddress
import itertools
import re
import selectors
import socket
import time

from elmer_jax.core import open_files
from elmer_jax.core.errors import UserError

_GREETING = "elmer_jax process"
_COMPLETE = "complete"
_ANSWER_SECONDS = 10  # by which an answer may be late


def wait_for_all(
  address: str, count: int, index: int, timeout: float
) -> dict[int, socket.socket]:
  """Returns once all `count` processes have called this, each with its `index`.

  Args:
    address: HOST:PORT of process 0.
    count: number of processes.
    index: of this process.
    timeout: seconds.

  Returns:
    Open connections by index: of process 0 to all others, of each other to process 0.

  Raises:
    UserError: processes are missing after `timeout`; it names them, in every process
      that came.
  """
  deadline = time.monotonic() + timeout
  if index == 0:
    answer, connections = _collect(address, count, deadline)
  else:
    answer, connections = _report(address, count, index, deadline)
  if answer != _COMPLETE:
    for connection in connections.values():
      connection.close()
    raise UserError(f"timed out after {timeout:g} s waiting for {answer}")
  return connections


def bind_address(address: str) -> str:
  """Returns where process 0 listens: `address`, or its port on all interfaces.

  The second where the host is not an address of this machine, as with address
  translation, or where only this machine resolves its name to itself: /etc/hosts often
  maps a machine's own name to a loopback address.
  """
  host, port = _split(address)
  try:
    found = [
      info[4] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    ]
    for socket_address in found:
      family = socket.AF_INET6 if len(socket_address) > 2 else socket.AF_INET
      with socket.socket(family) as probe:
        probe.bind((socket_address[0], 0, *socket_address[2:]))
    loopback = [ipaddress.ip_address(name).is_loopback for name, *_ in found]
  except (OSError, ValueError):
    return _any_address(port)
  is_local_name = host == "localhost" or host in [name for name, *_ in found]
  return address if is_local_name or not any(loopback) else _any_address(port)


def _any_address(port: int) -> str:
  return f"[::]:{port}" if socket.has_dualstack_ipv6() else f"0.0.0.0:{port}"


def _split(address: str) -> tuple[str, int]:
  host, _, port = address.rpartition(":")
  return host.strip("[]"), int(port)


def _collect(
  address: str, count: int, deadline: float
) -> tuple[str, dict[int, socket.socket]]:
  """Accepts the other processes; returns the answer that all get, and connections."""
  open_files.raise_limit()  # a connection for each process
  connections: dict[int, socket.socket] = {}
  with contextlib.ExitStack() as stack:
    selector = stack.enter_context(selectors.DefaultSelector())
    for server in _listen(address, count):
      stack.enter_context(server)
      selector.register(server, selectors.EVENT_READ, b"")
    while len(connections) < count - 1:
      remaining = deadline - time.monotonic()
      if remaining <= 0:
        break
      for key, _ in selector.select(remaining):
        if key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
          with contextlib.suppress(OSError):
            connection = stack.enter_context(key.fileobj.accept()[0])
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ, b"")
          continue
        received, index = _read_greeting(key.fileobj, key.data, count)
        if index is None and received:
          selector.modify(key.fileobj, selectors.EVENT_READ, received)
          continue
        selector.unregister(key.fileobj)
        if index is None:
          key.fileobj.close()
        else:
          connections[index] = key.fileobj
    missing = [index for index in range(1, count) if index not in connections]
    answer = _name(missing) if missing else _COMPLETE
    for connection in connections.values():
      with contextlib.suppress(OSError):
        connection.setblocking(True)
        connection.settimeout(1)
        connection.sendall(f"{answer}\n".encode())
    # The others, of strangers, are closed here.
    return answer, {index: found.dup() for index, found in connections.items()}


def _read_greeting(
  connection: socket.socket, received: bytes, count: int
) -> tuple[bytes, int | None]:
  """Reads on; returns what came, empty for a stranger, and the index if complete."""
  try:
    chunk = connection.recv(64)
  except OSError:
    return b"", None
  received += chunk
  match = re.fullmatch(rb"%b (\d+) of (\d+)\n" % _GREETING.encode(), received)
  if match and int(match[2]) == count and 0 < int(match[1]) < count:
    return received, int(match[1])
  is_partial = chunk and len(received) < 64 and b"\n" not in received
  return received if is_partial else b"", None


def _listen(address: str, backlog: int) -> list[socket.socket]:
  """Returns a listening socket for each address that the host's name resolves to."""
  host, port = _split(bind_address(address))
  servers = []
  try:
    for family, *_, found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
      both = host == "::"
      servers.append(
        socket.create_server(
          found[:2], family=family, backlog=backlog, dualstack_ipv6=both
        )
      )
  except OSError as error:
    for server in servers:
      server.close()
    reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror
    raise UserError(f"process 0 can't listen on {address}: {reason}") from None
  return servers


def _report(
  address: str, count: int, index: int, deadline: float
) -> tuple[str, dict[int, socket.socket]]:
  """Sends this process's index to process 0; returns its answer and the connection."""
  while (remaining := deadline - time.monotonic()) > 0:
    try:
      with socket.create_connection(_split(address), remaining) as connection:
        connection.sendall(f"{_GREETING} {index} of {count}\n".encode())
        connection.settimeout(remaining + _ANSWER_SECONDS)
        answer = b""
        while not answer.endswith(b"\n") and (chunk := connection.recv(4096)):
          answer += chunk
        if answer:
          return answer.decode("ascii", "replace").strip(), {0: connection.dup()}
    except OSError:
      pass
    time.sleep(min(0.2, max(remaining, 0)))
  return f"process 0 at {address}", {}


def _name(indices: list[int]) -> str:
  """Returns `process 1`, or `processes 1-3, 7`."""
  runs = []
  for _, run in itertools.groupby(enumerate(indices), lambda pair: pair[1] - pair[0]):
    members = [index for _, index in run]
    first, last = members[0], members[-1]
    runs.append(str(first) if first == last else f"{first}-{last}")
  return f"process{'es' * (len(indices) > 1)} {', '.join(runs)}"
