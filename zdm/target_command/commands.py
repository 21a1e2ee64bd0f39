"""`zdm-proxy target`: ask one proxy or a fleet for the target's state, and switch the target off and on.

For an operator in trouble: it starts fast, needs no valid configuration, asks all instances at the same time and says
for each what came of it. This file has the options, the order of events and the exit codes; `source` finds
address and token, `calls` has the call itself, `output` what is printed. None of them loads the reactor, nor the
libraries of the configuration unless `--config` or `--set` are given.
"""

from __future__ import annotations

import argparse
import getpass
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Final

from zdm.target_command.calls import DONE, MISUSED, NOT_ENABLED, PATIENCE, Answer, Call, Instance, parse_instance
from zdm.target_command.output import cell, end_progress, missing, say, show, show_progress
from zdm.target_command.source import Misuse, Source

DESCRIPTION: Final = """\
Ask running proxies whether they send to TARGET, and switch TARGET off and on while applications go on with ORIGIN.

  status    tell the state
  disable   send nothing new to target; reads and writes are served by origin alone
  enable    send to target again; clients are attached to it without reconnecting
"""

EPILOG: Final = """\
Exit codes, the highest of all instances:
  0    done; status: the target is enabled
  2    the command line, the token or the configuration cannot be used; nothing was sent
  3    status: the target is disabled; enable --wait: not every client was attached in time
  4    refused: the proxy's configuration forbids it (--force does it nevertheless), or the request is not acceptable
  5    access refused: the proxy wants a token, or another one
  6    not reachable, or what answered is no zdm-proxy with this API
  7    not ready: the proxy is starting or ending
  8    taken, but part of the proxy did not follow, or its state file could not be written: give the command again,
       look into the log
  130  interrupted

A disable that a starting proxy stores for its start is done (0): it comes up without the target. Each instance has a
state of its own: give every one of them a --url. Writes skipped while disabled are missing on target until copied.

The token is that of the proxy's admin_token. It is read from --token-file, else from the --config file, else from
ZDM_ADMIN_TOKEN or the file that ZDM_ADMIN_TOKEN_FILE names. Asking for the status takes none.

Examples:
  zdm-proxy target status
  zdm-proxy target disable --reason 'target is out of disk' --url http://proxy1:14001 --url http://proxy2:14001
  zdm-proxy target enable --wait 60 && echo attached
  zdm-proxy target status --json | jq '.[] | select(.desired != "ENABLED") | .instance'
"""

POLL: Final = 0.5
REPORT: Final = 5.0
"""Seconds between two looks at an instance that attaches, and between two lines about it where nobody watches."""

_ACTOR_LIMIT: Final = 100  # the API takes no more

INTERRUPTED: Final = 130
UNWRITTEN: Final = 141  # as the shell has it for what a closed pipe ends


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command, but for --config and --set."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("action", choices=("status", "enable", "disable"), help="what to do")
    parser.add_argument(
        "--url",
        type=_instance,
        action="append",
        metavar="URL",
        help="a proxy's metrics address, http://HOST:PORT or HOST:PORT (can be repeated);"
        " without it that of the configuration, else http://localhost:14001",
    )
    parser.add_argument("--token-file", metavar="FILE", help="file that holds the token; not read for status")
    parser.add_argument("--json", action="store_true", help="print one JSON array, an object for each instance")
    parser.add_argument("--reason", metavar="TEXT", help="enable, disable: why; shown by status, logged and audited")
    parser.add_argument("--actor", metavar="NAME", help="enable, disable: who; without it USER@HOST of this machine")
    parser.add_argument("--force", action="store_true", help="enable, disable: even where the configuration forbids it")
    parser.add_argument(
        "--wait",
        type=_seconds,
        metavar="SECONDS",
        help="enable: return when every client has its connection to target, after SECONDS at the latest",
    )


def run(
    options: argparse.Namespace,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Does what the options say; the exit code."""
    try:
        return _run(options, clock, pause)
    except Misuse as misuse:
        say(sys.stderr, f"zdm-proxy target: {misuse}")
        return MISUSED
    except KeyboardInterrupt:
        say(sys.stderr, "\nzdm-proxy target: interrupted; what was sent may have been done: ask for the status")
        return INTERRUPTED
    except BrokenPipeError:  # of `| head`; the interpreter must not meet it again when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNWRITTEN


def _run(options: argparse.Namespace, clock: Callable[[], float], pause: Callable[[float], None]) -> int:
    _check_usage(options)
    source = Source.of(options.config or None, options.set + options.set_after)
    instances = list(dict.fromkeys(options.url or [source.instance()]))
    if options.action == "status":
        call = Call()
    else:
        call = Call(options.action, _query(options), source.token(options.token_file))
    answers = call.ask_all(instances)
    if options.wait is not None:
        answers = _attached(answers, options.wait, clock, pause)
    show(answers, as_json=options.json)
    return max(answer.code for answer in answers)


def _check_usage(options: argparse.Namespace) -> None:
    if options.action == "status" and (options.force or options.reason is not None or options.actor is not None):
        raise Misuse("--reason, --actor and --force go with enable and disable")
    if options.action != "enable" and options.wait is not None:
        raise Misuse("--wait goes with enable; a disable is done when the command returns")


def _query(options: argparse.Namespace) -> tuple[tuple[str, str], ...]:
    query = [("actor", options.actor or _actor())]
    if options.reason:
        query.append(("reason", options.reason))
    if options.force:
        query.append(("force", "true"))
    return tuple(query)


def _actor() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # containers run under ids that have no name
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"[:_ACTOR_LIMIT]


def _attached(
    answers: list[Answer],
    seconds: float,
    clock: Callable[[], float],
    pause: Callable[[float], None],
) -> list[Answer]:
    """The last answers of all instances; those that took the command are asked until all their clients are attached."""
    deadline, next_report = clock() + seconds, clock()
    is_watched = sys.stderr.isatty()
    latest = {answer.instance: answer for answer in answers}
    waiting = [answer.instance for answer in answers if answer.code == DONE and not answer.is_dual]
    while waiting and (left := deadline - clock()) > 0:
        if is_watched or clock() >= next_report:
            show_progress([latest[instance] for instance in waiting], left, is_watched)
            next_report = clock() + REPORT
        pause(min(POLL, left))
        for answer in Call(patience=min(PATIENCE, max(1.0, left))).ask_all(waiting):
            latest[answer.instance] = _told_before(answer, latest[answer.instance])
        waiting = [instance for instance in waiting if not _is_settled(latest[instance])]
    if is_watched:
        end_progress()
    for instance in waiting:
        latest[instance] = _late(latest[instance], seconds)
    return [_again_disabled(latest[answer.instance]) for answer in answers]


def _told_before(answer: Answer, earlier: Answer) -> Answer:
    """With what the proxy said to the command: that may be a warning."""
    return answer._replace(fields={"message": earlier.fields.get("message"), **answer.fields})


def _is_settled(answer: Answer) -> bool:
    return answer.is_dual or answer.code == NOT_ENABLED


def _late(answer: Answer, seconds: float) -> Answer:
    state = answer.trouble or missing(answer)
    text = f"enabled, but not attached after {seconds:g} s ({state}); it goes on attaching"
    return answer._replace(code=NOT_ENABLED, trouble=text)


def _again_disabled(answer: Answer) -> Answer:
    if answer.code != NOT_ENABLED or answer.trouble:
        return answer
    return answer._replace(trouble=f"was disabled again meanwhile, by {cell('actor', answer)}")


def _instance(text: str) -> Instance:
    try:
        return parse_instance(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError("not a number of seconds")
    return value
