"""Log lines on stderr: what they look like, which are shown, and where the reactor's own troubles go.

Lines are those of the reference (spec section 9.2): `time="2022-12-14T21:19:57Z" level=info msg="..."`, or with
`log_format: json` one JSON object each. Everything passes through txaio and Twisted's log system, so a Deferred's
unhandled error, an exception in the reactor and a warning of a library come out as lines of the same form, with the
traceback inside `msg`. Lines of a worker process end with its number: `worker=2`. On a terminal levels are coloured.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import txaio
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer

# the order of severity; the reference's names on the left
_SEVERITY: Final = {"PANIC": 0, "FATAL": 0, "ERROR": 1, "WARN": 2, "INFO": 3, "DEBUG": 4, "TRACE": 5}
_TXAIO_LEVEL: Final = ("critical", "error", "warn", "info", "debug", "trace")
_SHOWN_AS: Final = {"critical": "error", "error": "error", "warn": "warning", "info": "info", "debug": "debug"}
_COLOURS: Final = {"error": 31, "warning": 33, "info": 36, "debug": 37}
_COLOURED: Final = {level: f"\x1b[{_COLOURS[shown]}m{shown}\x1b[0m" for level, shown in _SHOWN_AS.items()}

_ESCAPES: Final = {
    '"': '\\"',
    "\\": "\\\\",
    **{chr(7 + place): f"\\{letter}" for place, letter in enumerate("abtnvfr")},
}


def quoted(text: str) -> str:
    """A Go string literal: double quotes, backslash escapes, what cannot be printed in hexadecimal."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def logfmt_line(seconds: float, level: str, text: str, worker: int = 0) -> str:
    """`worker` is 0 for the process that the operator has started."""
    who = f" worker={worker}" if worker else ""
    return f'time="{_rfc3339(seconds)}" level={level} msg={quoted(text)}{who}\n'


def json_line(seconds: float, level: str, text: str, worker: int = 0) -> str:
    """The same as a JSON object."""
    who = {"worker": worker} if worker else {}
    return json.dumps({"level": level, "msg": text, "time": _rfc3339(seconds), **who}, ensure_ascii=False) + "\n"


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@implementer(ILogObserver)
class LineObserver:
    """Writes the events of the whole process, ours and Twisted's, to one stream. Installed once, by `start`."""

    def __init__(self, stream: TextIO, level: str = "INFO", log_format: str = "logfmt", worker: int = 0) -> None:
        self._stream = stream
        self._worker = worker
        self.configure(level, log_format)

    def configure(self, level: str, log_format: str) -> None:
        """`level` as in `Config.log_level_name`; `log_format` logfmt or json."""
        self._severity = _SEVERITY[level]
        is_json = log_format.lower() == "json"
        self._line: Callable[[float, str, str, int], str] = json_line if is_json else logfmt_line
        # for eyes only: https://no-color.org
        has_colour = self._stream.isatty() and not is_json and not os.environ.get("NO_COLOR")
        self._shown_as: Mapping[str, str] = _COLOURED if has_colour else _SHOWN_AS

    def __call__(self, event: LogEvent) -> None:
        level: str = event.get("log_level", LogLevel.info).name
        if level == "info" and not str(event.get("log_namespace", "")).startswith("zdm"):
            # what libraries find worth telling (ports opened, factories started) we tell ourselves
            level = "debug"
        if _TXAIO_LEVEL.index(level) <= self._severity:
            line = self._line(event["log_time"], self._shown_as[level], event_text(event), self._worker)
            self._stream.write(line)
            self._stream.flush()


def event_text(event: LogEvent) -> str:
    """The message, followed by the traceback if the event has a failure."""
    text = formatEvent(event).rstrip()
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        text = f"{text}\n{failure.getTraceback()}".strip()
    return text


class Log:
    """What the program says to the operator. One per process; made by `start`, or in tests around any observer.

    A text that the level hides costs one comparison; where building the text costs more, ask `shows_debug` first.
    """

    __slots__ = ("_logger", "_severity")

    def __init__(self, level: str = "INFO", observer: ILogObserver | None = None) -> None:
        txaio.use_twisted()
        # a text is passed as a value, never as the format: it may hold braces (CQL maps do)
        self._logger: Any = txaio.make_logger(observer=observer)  # type: ignore[attr-defined]  # use_twisted puts it there
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """Hide what is less severe than `level`, a name as in `Config.log_level_name`."""
        self._severity = _SEVERITY[level]
        self._logger.set_log_level(_TXAIO_LEVEL[self._severity])

    def configure(self, level: str, log_format: str) -> None:
        """The level; a form only where the lines are this log's own."""
        self.set_level(level)

    @property
    def shows_debug(self) -> bool:
        return self._severity >= _SEVERITY["DEBUG"]

    def debug(self, text: str) -> None:
        if self._severity >= _SEVERITY["DEBUG"]:
            self._logger.debug("{text}", text=text)

    def info(self, text: str) -> None:
        if self._severity >= _SEVERITY["INFO"]:
            self._logger.info("{text}", text=text)

    def warn(self, text: str) -> None:
        if self._severity >= _SEVERITY["WARN"]:
            self._logger.warn("{text}", text=text)

    def error(self, text: str, failure: Failure | None = None) -> None:
        """With a failure, its traceback follows the text."""
        if self._severity >= _SEVERITY["ERROR"]:
            self._logger.error("{text}", text=text, log_failure=failure)


class ProcessLog(Log):
    """The log of the running program, whose level and form are known only after the configuration has been read."""

    __slots__ = ("_lines",)

    def __init__(self, lines: LineObserver, observer: ILogObserver | None = None) -> None:
        super().__init__(observer=observer)
        self._lines = lines

    def configure(self, level: str, log_format: str) -> None:
        super().configure(level, log_format)
        self._lines.configure(level, log_format)


def start(stream: TextIO | None = None, worker: int = 0) -> ProcessLog:
    """Begins logging for the whole process, on stderr, at INFO in logfmt. `worker` is the number of a worker process.

    Standard output and error are left alone (Twisted would redirect them): `print` stays `print`.
    """
    observer = LineObserver(stream or sys.stderr, worker=worker)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    return ProcessLog(observer)
