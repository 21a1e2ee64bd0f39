"""The programs, one for each driver: how each is built, what it can, and how a scenario talks to it.

A program is started with HOST PORT DATACENTER VERSION COMPRESSION [USER PASSWORD]; VERSION 0 leaves the protocol
version to the driver, COMPRESSION is none, lz4 or snappy. It reads one command a line, words separated by tabs, and
answers each with any number of lines ``row WORD...`` and then one ``ok NAME=VALUE...`` or ``failed TEXT``, with tabs
too. It knows nothing of what it ought to write or read: that is the scenario's, and programs turn words into requests.

    connect                   opens the driver's session, without a keyspace; ok driver=1.2.3 protocol=4
    use KEYSPACE              everything after it is in that keyspace
    cql TEXT                  any statement, as it is
    WAY TABLE K FIRST LAST    writes (k, c, v) for c from FIRST to LAST, v is "WAY c é"; the ways are in ``WAYS``
    counter TABLE K FIRST LAST    adds each c to k, bound; then in one counter batch 100 to k, bound, and 1000 to k+1
    types TABLE K             writes one row of several types by a prepared statement, and reads it back
    read TABLE K              the rows of this partition, by a prepared statement
    page TABLE K SIZE         the same in pages; ok pages=N
    await TABLE               reads again and again until an answer comes; one line ``refused`` when the first fails
    quit                      closes the session and ends

What is prepared is prepared once, when it is first used: after a restart of the proxy the driver has to find out by
itself that its session, its keyspace and its statements are gone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from conformance.client import Entry

SOURCES: Final = Path(__file__).parent
BUILD_SECONDS: Final = 1200
ANSWER_SECONDS: Final = 90.0

WAYS: Final = {
    "text": "the values are in the statement",
    "values": "not prepared by the program, values beside the statement",
    "named": "the same, by name",
    "bound": "prepared, by position",
    "bound-named": "prepared, by name",
    "many": "prepared, all at once",
    "logged": "one batch: odd rows by text, even ones bound",
    "unlogged": "the same, unlogged",
    "condition": "IF NOT EXISTS, each row twice; row C true, row C false",
}


class Driver(NamedTuple):
    """``build`` and ``run`` are commands; in them {here} is the directory that the sources were copied to, {python}
    the interpreter of the suite. ``highest`` is the newest protocol version of Cassandra that the driver speaks.
    """

    name: str
    tools: tuple[str, ...]
    build: tuple[str, ...]
    run: str
    highest: int
    lacks: frozenset[str] = frozenset()
    timestamps: bool = True
    """Whether it sends its own write times, so that both clusters have the same ones."""
    compressions: frozenset[str] = frozenset({"lz4", "snappy"})
    """What it can be told to use."""
    chooses_compression: bool = True
    """Whether it compresses as it is told to, and not as it likes."""


PIP: Final = "{python} -m pip install --quiet --no-deps --upgrade --target {here}/lib -r {here}/requirements.txt"
MAVEN: Final = (
    "mvn --batch-mode --quiet -f {here}/pom.xml"
    " org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
    " -DincludeScope=runtime -DoutputDirectory={here}/lib",
    "javac -encoding UTF-8 -cp {here}/lib/* -d {here}/classes {here}/Program.java",
)
DRIVERS: Final = {
    driver.name: driver
    for driver in (
        Driver("python", (), (PIP,), "{python} {here}/program.py", highest=5),
        # what is a row is prepared by the driver, unless it is in a batch
        Driver(
            "go",
            ("go",),
            ("go build -o {here}/program .",),
            "{here}/program",
            highest=5,
            lacks=frozenset({"values", "named"}),
        ),
        Driver(
            "node",
            ("node", "npm"),
            ("npm ci --no-audit --no-fund",),
            "node {here}/program.js",
            highest=4,
            compressions=frozenset(),
        ),
        # "many" is its COPY; it compresses when it can
        Driver(
            "cqlsh",
            (),
            (PIP,),
            "{python} {here}/program.py",
            highest=5,
            lacks=frozenset({"values", "named", "bound", "bound-named"}),
            compressions=frozenset(),
            chooses_compression=False,
        ),
        Driver("java", ("java", "javac", "mvn"), MAVEN, "java -Xmx256m -cp {here}/classes:{here}/lib/* Program", 5),
        # what has values is prepared by the driver
        Driver(
            "rust",
            ("cargo", "cc"),
            ("cargo build --locked --quiet --manifest-path {here}/Cargo.toml",),
            "{here}/target/debug/conformance-driver",
            highest=4,
        ),
    )
}


def build(driver: Driver, directory: Path) -> Path:
    """The copy of the program's sources in this directory, built if it was not; AssertionError says what is missing."""
    missing = [tool for tool in driver.tools if shutil.which(tool) is None]
    assert not missing, (
        f"the run asks for the driver {driver.name}, which needs {', '.join(missing)}: "
        "install that, or leave the driver out of --drivers"
    )
    here = directory / driver.name
    here.mkdir(parents=True, exist_ok=True)
    with _alone(directory / f"{driver.name}.lock"):
        stamp, state = here / "built", _state(driver)
        if not stamp.exists() or stamp.read_text() != state:
            stamp.unlink(missing_ok=True)
            for path in _sources(driver):
                copy = here / path.relative_to(SOURCES / driver.name)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, copy)
            for command in driver.build:
                _run(_words(command, here), here)
            stamp.write_text(state)
    return here


def _state(driver: Driver) -> str:
    """Another one when the sources, the commands or the interpreter change."""
    said = hashlib.sha256(repr((driver.build, sys.executable, sys.version)).encode())
    for path in _sources(driver):
        said.update(str(path.relative_to(SOURCES)).encode() + path.read_bytes())
    return said.hexdigest()


def _sources(driver: Driver) -> list[Path]:
    """Without what tools leave beside them when they are run there."""
    left = {"__pycache__", "node_modules", "target", "lib", "classes"}
    paths = sorted((SOURCES / driver.name).rglob("*"))
    return [path for path in paths if path.is_file() and not left & set(path.relative_to(SOURCES).parts)]


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two runs build one after the other."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _words(command: str, here: Path) -> list[str]:
    return [word.format(here=here, python=sys.executable) for word in command.split()]


def _run(line: list[str], here: Path) -> None:
    done = subprocess.run(
        line, cwd=here, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILD_SECONDS
    )
    assert done.returncode == 0, f"{' '.join(line)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"


class Answer(NamedTuple):
    values: dict[str, str]
    rows: list[tuple[str, ...]]


class Program:
    """One running program. Use as a context manager: a program that is still there at the end is killed."""

    def __init__(self, driver: Driver, here: Path, entry: Entry, options: Sequence[str], log: Path) -> None:
        """``options`` are data centre, version and compression."""
        line = [*_words(driver.run, here), entry.address, str(entry.port), *options]
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [*line, *(entry.credentials or ())],
                cwd=here,
                env=os.environ | {"PYTHONPATH": str(here / "lib"), "PYTHONUTF8": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
            )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *unused: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def ask(self, *words: object) -> Answer:
        self.tell(*words)
        return self.answer(f"answer to {words[0]}")

    def tell(self, *words: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\t".join(map(str, words)).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self, what: str) -> Answer:
        rows: list[tuple[str, ...]] = []
        while True:
            kind, *words = self.line(what).split("\t")
            if kind == "ok":
                return Answer(dict(word.split("=", 1) for word in words), rows)
            assert kind == "row", f"{what}: {kind} {' '.join(words)}\n{self._end_of_log()}"
            rows.append(tuple(words))

    def line(self, what: str) -> str:
        try:
            line = self._lines.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise AssertionError(f"after {ANSWER_SECONDS:g} s still no {what}\n{self._end_of_log()}") from None
        assert line is not None, f"the program ended instead of its {what}\n{self._end_of_log()}"
        return line

    def quit(self) -> None:
        self.ask("quit")
        code = self._process.wait(ANSWER_SECONDS)
        assert code == 0, f"the program ended with exit code {code}\n{self._end_of_log()}"

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.decode().rstrip("\r\n"))
        self._lines.put(None)

    def _end_of_log(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]
