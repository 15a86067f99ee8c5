"""Run a script in a process that cannot import this package, as on a user's machine without it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_BLOCK = """
import sys
class NoPackage:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "mtp_hf":
            raise ImportError(name)
sys.meta_path.insert(0, NoPackage())
"""
_CHECK = """
assert "mtp_hf" not in sys.modules
"""


def run_without_package(
    script: str, *arguments: str, folder: Path, environment: Mapping[str, str] | None = None
) -> str:
    """Run a script with arguments in a folder; return what it prints, fail if it fails."""
    done = subprocess.run(
        [sys.executable, "-c", _BLOCK + script + _CHECK, *arguments],
        cwd=folder,
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
