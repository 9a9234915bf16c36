"""What the harness promises of its processes, shown on small ones."""

import os
import time

import pytest

from tests.engines.processes import Ended, ended, free_port

LISTEN = "import socket, time; s = socket.create_server(('127.0.0.1', {})); print('up', flush=True); time.sleep(60)"


def test_a_log_and_a_port_are_awaited(processes):
    port = free_port()
    listener = processes.start("listener", ["python3", "-c", LISTEN.format(port)])
    assert listener.wait_for("up") == "up"
    listener.wait_for_port(port)
    listener.restart()
    assert listener.wait_for("up") == "up"
    assert listener.log.read_text() == "up\nup\n"


def test_what_ended_is_told_with_the_end_of_its_log(processes):
    failed = processes.start("failed", ["sh", "-c", "echo why; exit 3"])
    with pytest.raises(Ended, match="status 3.*\n*why"):
        failed.wait_for("never")


def test_a_kill_takes_what_it_started_along(processes):
    parent = processes.start("parent", ["sh", "-c", "sleep 60 & echo up; wait"])
    parent.wait_for("up")
    (child,) = parent.children
    parent.kill()
    while not ended(child):
        time.sleep(0.01)


def test_one_that_ignores_the_request_is_killed(processes):
    deaf = processes.start("deaf", ["sh", "-c", "trap '' TERM; echo up; while true; do sleep 1; done"])
    deaf.wait_for("up")
    deaf.pause()
    deaf.end(seconds=0.2)
    assert not deaf.running
    assert os.path.exists(deaf.log)
