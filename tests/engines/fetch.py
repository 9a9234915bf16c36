"""What the Flink cluster of the tests and its broker are made of, fetched once: `python -m tests.engines.fetch`.

Production names Flink 2.2, whose official job server is one jar to download. The tests run the newest Flink for which
the job server can be had as a Maven artifact, and build its jar themselves. Beam's Python SDK speaks the same protocol
to both.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.engines import artifacts, broker

FLINK = "1.19.3"
_BEAM = "2.70.0"  # of the runner
_JOB_SERVICE = "2.65.0"  # the newest that is published

_POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>douane.engines</groupId>
  <artifactId>job-server</artifactId>
  <version>1</version>
  <properties><project.build.sourceEncoding>UTF-8</project.build.sourceEncoding></properties>
  <dependencyManagement><dependencies><dependency>
    <groupId>org.apache.beam</groupId>
    <artifactId>beam-runners-java-job-service</artifactId>
    <version>{_JOB_SERVICE}</version>
  </dependency></dependencies></dependencyManagement>
  <dependencies>
    <dependency>
      <groupId>org.apache.beam</groupId>
      <artifactId>beam-runners-flink-{FLINK.rpartition(".")[0]}</artifactId>
      <version>{_BEAM}</version>
    </dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
  <build>
    <finalName>job-server</finalName>
    <plugins><plugin>
      <groupId>org.apache.maven.plugins</groupId>
      <artifactId>maven-shade-plugin</artifactId>
      <version>3.5.1</version>
      <executions><execution>
        <phase>package</phase>
        <goals><goal>shade</goal></goals>
        <configuration>
          <createDependencyReducedPom>false</createDependencyReducedPom>
          <filters><filter>
            <artifact>*:*</artifact>
            <excludes><exclude>META-INF/*.SF</exclude><exclude>META-INF/*.DSA</exclude><exclude>META-INF/*.RSA</exclude></excludes>
          </filter></filters>
          <transformers>
            <transformer implementation="org.apache.maven.plugins.shade.resource.ServicesResourceTransformer"/>
            <transformer implementation="org.apache.maven.plugins.shade.resource.AppendingTransformer">
              <resource>reference.conf</resource>
            </transformer>
            <transformer implementation="org.apache.maven.plugins.shade.resource.ManifestResourceTransformer">
              <mainClass>org.apache.beam.runners.flink.FlinkJobServerDriver</mainClass>
            </transformer>
          </transformers>
        </configuration>
      </execution></executions>
    </plugin></plugins>
  </build>
</project>
"""


def job_server() -> Path:
    """Beam's job server for this Flink, as one jar. Raises RuntimeError if it cannot be had."""
    return artifacts.maven("flink-job-server", _POM, "package") / "target" / "job-server.jar"


def flink_jars() -> Path:
    """The folder of Flink's own jars, from its package on PyPI. Raises RuntimeError if it cannot be had."""
    folder = artifacts.cache() / f"flink-{FLINK}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix="flink-", dir=folder.parent))
        try:
            _install(made, f"apache-flink-libraries=={FLINK}")
            made.rename(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder / "pyflink" / "lib"


def _install(folder: Path, package: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), package]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{package} is not in {artifacts.cache()}, and pip cannot fetch it: {done.stderr[-800:]}")


def main() -> None:
    for name, get in (("broker", broker.jars), ("job server", job_server), ("Flink", flink_jars)):
        began = time.monotonic()
        print(f"{name}: {get()} ({time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
