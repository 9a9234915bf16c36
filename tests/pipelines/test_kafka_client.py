import gc
import os

import pytest

pytest.importorskip("confluent_kafka")

from pipelines.kafka_client import Client


def test_a_client_that_is_closed_leaves_no_thread_behind(tmp_path):
    config = tmp_path / "kafka.properties"
    config.write_text("bootstrap.servers=127.0.0.1:1\n")
    threads = len(os.listdir("/proc/self/task"))
    gc.disable()
    try:
        for _ in range(3):
            client = Client("telemetry", str(config))
            client.look()
            client.take(1, 0.01)
            client.close()
        assert len(os.listdir("/proc/self/task")) <= threads
    finally:
        gc.enable()
