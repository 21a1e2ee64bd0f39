"""Log lines: form, levels, and what happens to errors that nobody handles. Spec section 9.2."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys

import pytest
from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from zdm.log import LineObserver, Log, ProcessLog, json_line, logfmt_line, quoted


def logged(level: str = "INFO", log_format: str = "logfmt") -> tuple[ProcessLog, io.StringIO]:
    """A log of its own, and the stream that its lines go to."""
    stream = io.StringIO()
    observer = LineObserver(stream)
    log = ProcessLog(observer, observer)
    log.configure(level, log_format)
    return log, stream


def test_a_line_has_the_form_of_the_reference() -> None:
    """The vendor's log collectors parse it: time in UTC to the second, level, message in quotes."""
    assert logfmt_line(1671052797.9, "info", "Proxy started.") == (
        'time="2022-12-14T21:19:57Z" level=info msg="Proxy started."\n'
    )


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("", '""'),
        ("plain", '"plain"'),
        ('say "x"', r'"say \"x\""'),
        ("a\\b", r'"a\\b"'),
        ("a\nb\r\t\v\f\a\b", r'"a\nb\r\t\v\f\a\b"'),
        ("\x00\x1b\x7f", r'"\x00\x1b\x7f"'),
        ("é 漢 😀", '"é 漢 😀"'),
        ("\u200b\ufeff", r'"\u200b\ufeff"'),
        ("\U000e0001", r'"\U000e0001"'),
    ],
)
def test_texts_are_quoted_as_go_quotes_them(text: str, literal: str) -> None:
    """One event is one line, whatever a peer put into the text."""
    assert quoted(text) == literal


class Terminal(io.StringIO):
    """A stream that somebody looks at."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("no_colour", "log_format", "line"),
    [
        ("", "logfmt", 'level=\x1b[33mwarning\x1b[0m msg="look"'),
        ("1", "logfmt", 'level=warning msg="look"'),
        ("", "json", '"level": "warning"'),
    ],
)
def test_levels_are_coloured_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, no_colour: str, log_format: str, line: str
) -> None:
    """As the reference has it; never where a program reads the lines."""
    monkeypatch.setenv("NO_COLOR", no_colour)
    stream = Terminal()
    observer = LineObserver(stream)
    log = ProcessLog(observer, observer)
    log.configure("INFO", log_format)
    log.warn("look")
    assert line in stream.getvalue()


def test_json_lines_are_one_object_each() -> None:
    line = json_line(0, "warning", 'a\n"b"')
    assert line.endswith("}\n")
    assert json.loads(line) == {"level": "warning", "msg": 'a\n"b"', "time": "1970-01-01T00:00:00Z"}
    assert line.count("\n") == 1


def test_lines_of_a_worker_process_carry_its_number() -> None:
    """As a field after the message, where the reference's library puts fields; those who parse know it."""
    assert logfmt_line(0, "info", "text", 2) == 'time="1970-01-01T00:00:00Z" level=info msg="text" worker=2\n'
    assert json.loads(json_line(0, "info", "text", 2))["worker"] == 2
    stream = io.StringIO()
    observer = LineObserver(stream, worker=3)
    ProcessLog(observer, observer).info("text")
    assert stream.getvalue().endswith(' msg="text" worker=3\n')


def test_the_form_can_be_chosen() -> None:
    log, stream = logged(log_format="json")
    log.info("x")
    assert json.loads(stream.getvalue())["msg"] == "x"


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("PANIC", []),
        ("FATAL", []),
        ("ERROR", ["error"]),
        ("WARN", ["error", "warning"]),
        ("INFO", ["error", "warning", "info"]),
        ("DEBUG", ["error", "warning", "info", "debug"]),
        ("TRACE", ["error", "warning", "info", "debug"]),
    ],
)
def test_a_level_hides_what_is_less_severe(level: str, shown: list[str]) -> None:
    log, stream = logged(level)
    for say in (log.error, log.warn, log.info, log.debug):
        say("x")
    assert re.findall(r"level=(\w+)", stream.getvalue()) == shown
    assert log.shows_debug == (level in ("DEBUG", "TRACE"))


def test_a_text_is_not_a_format() -> None:
    """CQL maps have braces."""
    log, stream = logged()
    log.info("{'a': 1} {0} {text}")
    assert "msg=\"{'a': 1} {0} {text}\"" in stream.getvalue()


def test_a_hidden_text_costs_nothing_but_a_comparison() -> None:
    """No event is made for it."""
    events: list[LogEvent] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        events.append(event)

    log = Log("INFO", observe)
    log.debug("x")
    assert events == []
    log.info("x")
    assert len(events) == 1


def test_an_error_may_bring_its_traceback() -> None:
    log, stream = logged()
    try:
        raise ValueError("boom")
    except ValueError:
        log.error("could not", Failure())
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert r'level=error msg="could not\nTraceback' in line
    assert "ValueError: boom" in line


def test_what_libraries_tell_is_for_debugging() -> None:
    """`Starting factory` and the like would drown the lines that operators look for; warnings stay."""
    stream = io.StringIO()
    observer = LineObserver(stream)
    library = Logger(namespace="twisted.internet", observer=observer)
    library.info("chatter")
    assert stream.getvalue() == ""
    library.warn("trouble")
    assert "level=warning" in stream.getvalue()
    observer.configure("DEBUG", "logfmt")
    library.info("chatter")
    assert 'level=debug msg="chatter"' in stream.getvalue()


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)


def test_an_unhandled_failure_of_a_deferred_is_an_error_line() -> None:
    """Otherwise it would be lost, or be printed in a form that nobody collects."""
    done = run(
        "import gc, zdm.log\n"
        "log = zdm.log.start()\n"
        "from twisted.internet.defer import fail\n"
        "fail(ValueError('boom'))\n"
        "gc.collect()\n"
    )
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert all(line.startswith("time=") for line in lines)
    assert [line for line in lines if "level=error" in line and "ValueError: boom" in line]


def test_an_exception_in_the_reactor_is_an_error_line() -> None:
    """The proxy goes on, and the operator has the traceback."""
    done = run(
        "import zdm.log\n"
        "log = zdm.log.start()\n"
        "from twisted.internet import reactor\n"
        "reactor.callLater(0, lambda: 1 / 0)\n"
        "reactor.callLater(0.01, reactor.stop)\n"
        "reactor.run()\n"
    )
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert all(line.startswith("time=") for line in lines)
    assert [line for line in lines if "level=error" in line and "ZeroDivisionError" in line]


def test_standard_output_is_left_alone() -> None:
    """Twisted would turn `print` into log lines; the command line's own output goes to stdout."""
    done = run("import zdm.log\nlog = zdm.log.start()\nprint('plain')\nlog.info('x')\n")
    assert done.stdout == "plain\n"
    assert re.fullmatch(r'time="[^"]+" level=info msg="x"\n', done.stderr)
