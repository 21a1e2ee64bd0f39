"""Child processes, and what they say on stderr."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.process.awaiting import PATIENCE


def proxy_command() -> list[str]:
    """The installed program; where it is not installed, the same thing by its module."""
    installed = Path(sys.executable).parent / "zdm-proxy"
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "zdm"]


class Program:
    """A running program. Its stdout and stderr are files, so that nothing it says can block it or be lost."""

    def __init__(self, command: list[str], environment: dict[str, str], directory: Path) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("ZDM_")}
        self._stdout, self._stderr = directory / "stdout", directory / "stderr"
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self._process = subprocess.Popen(command, env=inherited | environment, stdout=out, stderr=err)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def stdout(self) -> str:
        return self._stdout.read_text()

    def stderr(self) -> str:
        return self._stderr.read_text()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit code."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self, seconds: float = PATIENCE) -> int:
        """SIGTERM; the exit code. One that does not end is killed, and that is an AssertionError."""
        if self.is_running:
            self.signal(signal.SIGTERM)
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not end within {seconds:g} s after SIGTERM:\n{self.stderr()}") from None
