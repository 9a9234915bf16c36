"""What the tests of engines run and this project does not ship: downloaded once, kept in a cache.

Downloads happen before the tests (`python -m tests.engines.broker`, say), since the tests themselves run in a network
namespace that has only its own loopback.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path


def cache() -> Path:
    """The folder of all downloads: `$XDG_CACHE_HOME/douane/engines`, by default below ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "douane" / "engines"


def maven(name: str, pom: str, *goals: str) -> Path:
    """The folder where Maven has run `goals` (default: runtime dependencies into `lib`) on a pom of this text.

    Made once for each text and set of goals, and put in place whole. Raises RuntimeError, with the end of what Maven
    said, if it cannot be made here.
    """
    goals = goals or ("dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=lib")
    folder = cache() / f"{name}-{hashlib.sha256(repr((pom, goals)).encode()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    if not shutil.which("mvn"):
        raise RuntimeError(f"{name} is not in {cache()}, and there is no mvn to fetch it with")
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder.parent))
    try:
        (made / "pom.xml").write_text(pom)
        done = subprocess.run(["mvn", "-B", "-q", *goals], cwd=made, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{name} is not in {cache()}, and Maven cannot fetch it: {done.stdout[-800:]}")
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder
