"""A real Kafka broker for tests: one node, bound to the loopback, its own controller.

`python -m tests.engines.broker` downloads what it needs, so that the tests need no network.
"""

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.engines.artifacts import maven
from tests.engines.processes import Process, Processes, free_port

KAFKA = "4.4.0"
_CLUSTER = "ZG91YW5lLXRlc3RzLTEyMw"  # any 16 bytes as base64
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>douane</groupId><artifactId>broker</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.5</version>
    </dependency>
  </dependencies>
</project>
"""
_READY = "Kafka Server started"
_STARTS = 180  # seconds; alone on a machine it takes a few
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"


class Broker:
    """A broker, its log and data in `folder`. It begins with no topics, and keeps them over a restart.

    It listens at `bootstrap` in plain text. With `users` (passwords by name) it also listens at `secure` with SASL_SSL
    and SCRAM-SHA-512, signed by the authority in `ca`, and asks for ACLs there; at `bootstrap` everything is allowed.
    `beside` makes it a second node of another broker's cluster.
    """

    def __init__(
        self,
        folder: Path,
        processes: Processes,
        users: Mapping[str, str] | None = None,
        beside: "Broker | None" = None,
        memory: str = "512m",
        **config: str,
    ) -> None:
        self.folder, self.users, self.ca = folder, dict(users or {}), folder / "ca.pem"
        self.node = beside.node + 1 if beside else 1
        self.bootstrap, self.secure = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.controller = beside.controller if beside else f"127.0.0.1:{free_port()}"
        self._processes, self._memory, self._config = processes, memory, config
        self._process: Process | None = None
        self._admin: AdminClient | None = None

    def start(self) -> "Broker":
        """Returns once it is up: 2 to 9 s."""
        if self._process is None:
            self._prepare()
        self._process = self._run("kafka.Kafka", str(self.folder / "server.properties"))
        self._process.wait_for(_READY, _STARTS)
        return self

    def kill(self) -> None:
        """kill -9."""
        assert self._process
        self._process.kill()

    def restart(self) -> None:
        """Starts it again, over the same data."""
        assert self._process
        self._process.restart()
        self._process.wait_for(_READY, _STARTS)

    def pause(self) -> None:
        """It neither answers nor ends."""
        assert self._process
        self._process.pause()

    def resume(self) -> None:
        assert self._process
        self._process.resume()

    @property
    def admin(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        return self._admin

    def topic(self, name: str, partitions: int = 1, assignment: list[list[int]] | None = None, **config: object) -> str:
        """Makes a topic and returns once every partition has a leader. Dots in the names of its configuration are
        written as underscores; its time is the broker's unless `message_timestamp_type` says otherwise."""
        given = {"message.timestamp.type": "LogAppendTime"}
        given |= {key.replace("_", "."): str(value) for key, value in config.items()}
        count = len(assignment) if assignment else partitions
        placed = {"replica_assignment": assignment} if assignment else {"replication_factor": 1}
        self._done(self.admin.create_topics([NewTopic(name, count, config=given, **placed)]))
        self._until(lambda: len(self._led(name)) == count, f"topic {name} has no leaders")
        return name

    def delete_topic(self, name: str) -> None:
        self._done(self.admin.delete_topics([name]))

    def producer(self, **config: object) -> Producer:
        """A producer that writes in order and at once; dots in names of its configuration as underscores."""
        given = {"bootstrap.servers": self.bootstrap, "acks": "all", "linger.ms": 0, "log_level": 0}
        return Producer(given | {key.replace("_", "."): value for key, value in config.items()})

    def _led(self, topic: str) -> list[int]:
        found = self.admin.list_topics(topic, timeout=10).topics[topic].partitions
        return [number for number, partition in found.items() if partition.leader >= 0]

    def _done(self, futures: Mapping) -> None:
        for future in futures.values():
            future.result(30)

    def _until(self, is_so, otherwise: str, seconds: float = 30) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if is_so():
                    return
            except (KafkaException, KeyError):
                pass  # just made, it may not be known everywhere
            time.sleep(0.1)
        raise TimeoutError(otherwise)

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True)
        if self.users:
            _certificates(self.folder)
        path = self.folder / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in self._properties().items()))
        scram = [f"SCRAM-SHA-512=[name={name},password={password}]" for name, password in self.users.items()]
        formatted = self._run(
            *("kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(path)),
            *(word for each in scram for word in ("--add-scram", each)),
            name=f"format-{self.node}",
        )
        if formatted.wait(_STARTS):
            raise RuntimeError(f"the broker's storage cannot be made: {formatted.text()[-800:]}")

    def _run(self, *command: str, name: str = "") -> Process:
        told = "-Dorg.apache.logging.log4j.level=INFO"
        java = ["java", f"-Xmx{self._memory}", "-XX:+UseSerialGC", told, "-cp", f"{jars()}/*", *command]
        return self._processes.start(name or f"broker-{self.node}", java)

    def _properties(self) -> dict[str, str]:
        plain, controller = f"PLAINTEXT://{self.bootstrap}", f"CONTROLLER://{self.controller}"
        listeners = [plain] if self.node > 1 else [plain, controller]
        protocols = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL"
        properties = {
            "process.roles": "broker" if self.node > 1 else "broker,controller",
            "node.id": str(self.node),
            "controller.quorum.voters": f"1@{self.controller}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": protocols,
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            "default.replication.factor": "1",
            "min.insync.replicas": "1",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "log.retention.check.interval.ms": "1000",
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
        }
        if self.users:
            listeners.append(f"SASL_SSL://{self.secure}")
            properties |= {
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": f"{_SCRAM} required;",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(self.folder / "broker.pem"),
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",  # who comes in plain text
            }
        advertised = [listener for listener in listeners if not listener.startswith("CONTROLLER")]
        properties |= {"listeners": ",".join(listeners), "advertised.listeners": ",".join(advertised)}
        return properties | {key.replace("_", "."): value for key, value in self._config.items()}


def jars() -> Path:
    """The folder of the broker's jars. Raises RuntimeError if they are not here and cannot be downloaded."""
    return maven(f"kafka-{KAFKA}", _POM) / "lib"


def _certificates(folder: Path) -> None:
    """An authority, `ca.pem`, and a broker's key and certificate in `broker.pem`."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    now = datetime.now()
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(certificate)
    (folder / "broker.pem").write_bytes(private + certificate)


if __name__ == "__main__":
    print(jars())
