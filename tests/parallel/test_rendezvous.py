# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Processes find each other on a port, whoever else connects to it."""

import concurrent.futures
import contextlib
import socket
import time

import pytest

from elmer_jax.core.errors import UserError
from elmer_jax.parallel import rendezvous


def free_port() -> int:
  with socket.socket() as free:
    free.bind(("localhost", 0))
    return free.getsockname()[1]


def wait_for_all(present: list[int], count: int, timeout: float, **kwargs) -> list[str]:
  """Lets the processes `present` of `count` wait; returns "on" or the error of each."""
  port = kwargs.get("port") or free_port()

  def wait(index: int) -> str:
    try:
      rendezvous.wait_for_all(f"localhost:{port}", count, index, timeout)
    except UserError as error:
      return str(error)
    return "on"

  with concurrent.futures.ThreadPoolExecutor(len(present)) as pool:
    return list(pool.map(wait, present))


def test_all_processes_go_on_together():
  assert wait_for_all([2, 0, 1], 3, timeout=60) == ["on"] * 3


def test_missing_processes_are_named_to_all():
  for error in wait_for_all([3, 0], 6, timeout=1):
    assert error == "timed out after 1 s waiting for processes 1-2, 4-5"
  [error] = wait_for_all([0], 2, timeout=1)
  assert error == "timed out after 1 s waiting for process 1"
  [error] = wait_for_all([1], 3, timeout=1)
  assert error.startswith("timed out after 1 s waiting for process 0 at localhost:")


def test_strangers_on_the_port_delay_nobody():
  port = free_port()
  messages = (
    b"",  # silent
    b"GET / HTTP/1.1\r\n\r\n",
    b"\xff" * 1000,
    b"elmer_jax process 1 of 3\n",  # of another run
    b"elmer_jax process 0 of 2\n",
    b"elmer_jax process 1",
  )
  with contextlib.ExitStack() as stack:
    first = stack.enter_context(concurrent.futures.ThreadPoolExecutor()).submit(
      rendezvous.wait_for_all, f"localhost:{port}", 2, 0, 60
    )
    for message in messages:
      while True:
        with contextlib.suppress(ConnectionRefusedError):
          stranger = stack.enter_context(socket.create_connection(("localhost", port)))
          break
        time.sleep(0.05)
      stranger.sendall(message)
    assert not first.done()
    assert wait_for_all([1], 2, timeout=60, port=port) == ["on"]
    first.result(timeout=5)


def test_many_processes_meet_quickly():
  start = time.monotonic()
  assert set(wait_for_all(list(range(1000))[::-1], 1000, timeout=60)) == {"on"}
  assert time.monotonic() - start < 10


def test_a_port_in_use_is_an_error():
  with socket.create_server(("localhost", 0)) as server:
    port = server.getsockname()[1]
    with pytest.raises(UserError, match=f"can't listen on localhost:{port}: the port"):
      rendezvous.wait_for_all(f"localhost:{port}", 2, 0, 1)


@pytest.mark.parametrize(
  ("address", "expected"),
  [
    ("localhost:5000", "localhost:5000"),
    ("127.0.0.1:5000", "127.0.0.1:5000"),
    ("192.0.2.1:5000", "[::]:5000"),  # an address of no machine (RFC 5737)
  ],
)
def test_the_named_interface_is_used_where_it_is_local(address, expected):
  if not socket.has_dualstack_ipv6():
    expected = expected.replace("[::]", "0.0.0.0")
  assert rendezvous.bind_address(address) == expected
