"""cqlsh: see programs.py for what it is told.

One cqlsh runs all the time, and gets at its prompt what a person would type. It prepares in COPY only, which is "many".
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).parent
PROMPT = re.compile(r"(^|\n)([\w-]+@)?cqlsh(:\w+)?> $")
MORE = "---MORE---"
RULE = re.compile(r"-+(\+-+)*")
VERSION = re.compile(r"\[cqlsh (\S+) .*Native protocol v(\d+)\]")


class Failed(Exception):
    """cqlsh printed something else than it does when all went well."""


def say(*words: object) -> None:
    print(*words, sep="\t", flush=True)


class Shell:
    def __init__(self, host: str, port: str, _data_center: str, version: str, _compression: str, *login: str) -> None:
        line = [sys.executable, "-u", str(HERE / "lib/bin/cqlsh"), "--tty", "--disable-history", "--encoding=utf-8"]
        line += ["--request-timeout=30", "--connect-timeout=15"]
        if int(version):
            line.append(f"--protocol-version={version}")
        if login:
            line += ["-u", login[0], "-p", login[1]]
        self.process = subprocess.Popen(
            [*line, host, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        )

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n".encode())

    def printed(self) -> str:
        """What it printed until it waits for input again."""
        assert self.process.stdout is not None
        raw = bytearray()
        while True:
            part = self.process.stdout.read(65536)
            raw += part
            text = raw.decode(errors="replace")
            if not part:
                raise Failed(f"cqlsh ended: {text}")
            if text.endswith(MORE) or PROMPT.search(text):
                return PROMPT.sub("", text)

    def ask(self, text: str) -> str:
        self.type(text)
        return self.printed()

    def do(self, text: str) -> None:
        """Of what went well, nothing is printed."""
        said = self.ask(text).strip()
        if said:
            raise Failed(said)

    def select(self, text: str) -> tuple[list[list[str]], int]:
        """The rows, and how many pages there were."""
        rows: list[list[str]] = []
        said, pages = self.ask(text), 1
        while said.endswith(MORE):
            rows += table_of(said.removesuffix(MORE))
            self.type("")
            said, pages = self.printed(), pages + 1
        if not re.search(r"\(\d+ rows\)", said):
            raise Failed(said.strip())
        return rows + table_of(said), pages

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)


def table_of(said: str) -> list[list[str]]:
    """The cells below each rule of dashes, up to an empty line."""
    rows: list[list[str]] = []
    inside = False
    for line in said.splitlines():
        if RULE.fullmatch(line.strip()):
            inside = True
        elif not line.strip():
            inside = False
        elif inside:
            rows.append([cell.strip() for cell in line.split("|")])
    return rows


def insert(way: str, table: str, k: int, c: int) -> str:
    return f"INSERT INTO {table} (k, c, v) VALUES ({k}, {c}, '{way} {c} é')"


class Application:
    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        self.shell: Shell

    def connect(self) -> list[str]:
        self.shell = Shell(*self.arguments)
        self.shell.printed()
        said = self.shell.ask("SHOW VERSION")
        found = VERSION.search(said)
        if found is None:
            raise Failed(said)
        return [f"driver={found[1]}", f"protocol={found[2]}"]

    def write(self, way: str, table: str, k: int, numbers: range) -> None:
        if way == "many":
            self.copy(table, k, numbers)
        elif way in ("logged", "unlogged"):
            kind = "UNLOGGED " if way == "unlogged" else ""
            children = " ".join(f"{insert(way, table, k, c)};" for c in numbers)
            self.shell.do(f"BEGIN {kind}BATCH {children} APPLY BATCH;")
        elif way == "counter":
            for c in numbers:
                self.shell.do(f"UPDATE {table} SET n = n + {c} WHERE k = {k};")
            added = f"UPDATE {table} SET n = n + 100 WHERE k = {k}; UPDATE {table} SET n = n + 1000 WHERE k = {k + 1};"
            self.shell.do(f"BEGIN COUNTER BATCH {added} APPLY BATCH;")
        elif way == "condition":
            for c in numbers:
                for _ in range(2):
                    ((applied, *_), *_) = table_of(self.shell.ask(f"{insert(way, table, k, c)} IF NOT EXISTS;"))
                    say("row", c, applied.lower())
        else:
            for c in numbers:
                self.shell.do(f"{insert(way, table, k, c)};")

    def copy(self, table: str, k: int, numbers: range) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
            file.writelines(f"{k},{c},many {c} é\n" for c in numbers)
            file.flush()
            said = self.shell.ask(f"COPY {table} (k, c, v) FROM '{file.name}' WITH NUMPROCESSES = 1;")
        if f"{len(numbers)} rows imported from 1 files" not in said:
            raise Failed(said)

    def types(self, table: str, k: int) -> None:
        columns = "big, real, raw, id, at, ints, names, nothing"
        self.shell.do(
            f"INSERT INTO {table} (k, {columns}) VALUES ({k}, -4611686018427387904, 2.5, 0x00ff10,"
            " 00112233-4455-6677-8899-aabbccddeeff, '2026-01-02 03:04:05.678+0000', [3, 1, 2], {'a': 1, 'b': 2}, null);"
        )
        rows, _ = self.shell.select(f"SELECT {columns} FROM {table} WHERE k = {k};")
        for big, real, raw, id_, at, ints, names, nothing in rows:
            milliseconds = round(datetime.strptime(at, "%Y-%m-%d %H:%M:%S.%f%z").timestamp() * 1000)
            pairs = names.strip("{}").replace("'", "").replace(": ", "=").replace(", ", ",")
            numbers = ints.strip("[]").replace(", ", ",")
            say("row", big, real, raw.removeprefix("0x"), id_, milliseconds, numbers, pairs, nothing)

    def read(self, table: str, k: str, size: str = "1000") -> int:
        self.shell.ask(f"PAGING {size};")
        rows, pages = self.shell.select(f"SELECT k, c, v FROM {table} WHERE k = {k};")
        for row in rows:
            say("row", *row)
        return pages

    def wait(self, table: str) -> None:
        for attempt in range(600):
            try:
                self.shell.select(f"SELECT k, c, v FROM {table} WHERE k = 0;")
                return
            except Failed as failed:
                print(failed, file=sys.stderr)
                if not attempt:
                    say("refused")
            time.sleep(0.1)
        raise TimeoutError("no answer in a minute")

    def obey(self, command: str, words: list[str]) -> list[str]:
        """Returns the words behind "ok"."""
        if command == "connect":
            return self.connect()
        if command == "page":
            return [f"pages={self.read(*words)}"]
        if command == "use":
            self.shell.do(f"USE {words[0]};")
        elif command == "cql":
            self.shell.do(f"{words[0]};")
        elif command == "read":
            self.read(*words)
        elif command == "types":
            self.types(words[0], int(words[1]))
        elif command == "await":
            self.wait(words[0])
        else:
            table, k, first, last = words
            self.write(command, table, int(k), range(int(first), int(last) + 1))
        return []


def main() -> None:
    application = Application(*sys.argv[1:])
    for line in sys.stdin:
        command, *words = line.rstrip("\n").split("\t")
        if command == "quit":
            break
        try:
            say("ok", *application.obey(command, words))
        except Exception as error:
            say("failed", repr(error))
    application.shell.stop()
    say("ok")


main()
