"""The program's command line as a process: exit codes, and what goes to which stream."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.process.awaiting import free_port
from tests.process.programs import proxy_command
from tests.process.running_proxy import PROXY
from tests.process.sandbox import ORIGIN, Sandbox
from zdm import __version__

_LIMIT = 45.0
"""Seconds for one run of a whole program, on a machine that is busy with others."""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("ZDM_")}
    return subprocess.run(
        [*proxy_command(), *arguments], env=inherited | environment, capture_output=True, text=True, timeout=_LIMIT
    )


def settings(origin: Any, target: Any) -> dict[str, str]:
    """An environment with these clusters."""
    found = {"ZDM_PROXY_LISTEN_ADDRESS": PROXY}
    for name, cluster in (("ORIGIN", origin), ("TARGET", target)):
        user, password = cluster.login
        found |= {
            f"ZDM_{name}_CONTACT_POINTS": cluster.host,
            f"ZDM_{name}_PORT": str(cluster.port),
            f"ZDM_{name}_USERNAME": user,
            f"ZDM_{name}_PASSWORD": password,
        }
    return found


@pytest.mark.parametrize("option", ["--version", "-version", "-v"])
def test_the_version_is_one_line_on_stdout(option: str) -> None:
    """Scripts of the reference ask with one dash."""
    done = run(option)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"ZDM proxy version {__version__}\n", "")


def test_an_unknown_option_is_a_mistake_of_the_command_line() -> None:
    """Exit code 2, as the reference has it, tells it from a wrong configuration."""
    assert run("--no-such-option").returncode == 2


def test_a_configuration_error_names_every_wrong_key_and_ends_with_255() -> None:
    """Whoever starts it sees the version that complains, and all that is wrong at once."""
    done = run(ZDM_ORIGIN_USERNAME="", ZDM_ORIGIN_PASSWORD="", ZDM_TARGET_USERNAME="", ZDM_PROXY_LISTEN_PORT="many")
    assert done.returncode == 255
    first, second = done.stderr.splitlines()
    assert re.fullmatch(rf'time="\S+" level=info msg="Starting ZDM proxy version {__version__}"', first)
    assert re.fullmatch(r'time="\S+" level=error msg="Error loading configuration: .*\. Aborting startup\."', second)
    for key in ("ZDM_TARGET_PASSWORD", "ZDM_PROXY_LISTEN_PORT"):
        assert key in second


def test_check_prints_what_it_found_and_ends_with_0(guarded: Sandbox) -> None:
    """It is what an operator runs before the first start."""
    done = run("check", **settings(*guarded.clusters))
    assert done.returncode == 0, done.stdout + done.stderr
    for text in (
        f"{guarded.origin.host}:{guarded.origin.port}",
        f"{guarded.target.host}:{guarded.target.port}",
        "Murmur3Partitioner",
        "Clients log in with credentials of TARGET.",
        "Reads go to ORIGIN, writes to both.",
        f"{PROXY}:14002",
    ):
        assert text in done.stdout


def test_check_tells_why_a_cluster_cannot_be_used_and_ends_with_1(guarded: Sandbox) -> None:
    """The other cluster is tried all the same: both reasons are wanted in one go."""
    origin = SimpleNamespace(host=ORIGIN, port=free_port(ORIGIN), login=("", ""))
    target = SimpleNamespace(host=guarded.target.host, port=guarded.target.port, login=("target_user", "wrong"))
    done = run("check", **settings(origin, target))
    assert done.returncode == 1
    shown = " ".join(done.stdout.split())
    assert "could not open control connection to ORIGIN" in shown
    assert "refused" in shown
    assert "Provided username target_user and/or password are incorrect" in shown
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(("word", "code"), [("true", 1), ("false", 0)])
def test_check_does_without_a_target_that_is_disabled(sandbox: Sandbox, word: str, code: int) -> None:
    """The proxy would start; that target is away is told all the same."""
    target = SimpleNamespace(host="127.0.30.2", port=free_port("127.0.30.2"), login=("", ""))
    done = run("check", ZDM_TARGET_ENABLED_AT_START=word, **settings(sandbox.origin, target))
    assert done.returncode == code, done.stdout
    assert f"TARGET: {'enabled' if word == 'true' else 'disabled'} at start" in done.stdout
    assert "could not open control connection to TARGET" in done.stdout


def test_check_tells_what_a_disabled_target_means_and_that_nobody_can_enable_it(sandbox: Sandbox) -> None:
    """Not over HTTP: every container serves it on all addresses, and a token has to be set for that."""
    keys = {"ZDM_TARGET_ENABLED_AT_START": "false", "ZDM_METRICS_ADDRESS": "0.0.0.0"}
    done = run("check", **settings(*sandbox.clusters), **keys)
    assert done.returncode == 0, done.stdout
    assert "Reads and writes go to ORIGIN alone, until TARGET is enabled." in done.stdout
    assert "Target cannot be switched off over HTTP" in done.stdout and "writes to both" not in done.stdout
    assert "over HTTP" not in run("check", **settings(*sandbox.clusters)).stdout


def test_check_tells_of_a_state_file_that_cannot_be_used(sandbox: Sandbox, tmp_path: Path) -> None:
    """And leaves it as it is; clusters are looked at nevertheless."""
    path = tmp_path / "state.json"
    path.write_text("{}")
    done = run("check", ZDM_STATE_FILE=str(path), **settings(*sandbox.clusters))
    assert done.returncode == 1 and path.read_text() == "{}"
    assert f"the state file {path} cannot be used: it is damaged: format" in done.stdout
    assert "ORIGIN: connecting" in done.stdout


def test_check_tells_of_too_few_open_files(sandbox: Sandbox) -> None:
    """The proxy would start, and refuse the clients that come last."""
    done = run("check", ZDM_PROXY_MAX_CLIENT_CONNECTIONS="100000000", **settings(*sandbox.clusters))
    assert done.returncode == 0
    assert "100000000 clients (proxy_max_client_connections) may need 300000064" in done.stdout


def test_check_says_so_where_there_is_nothing_to_complain_of(guarded: Sandbox) -> None:
    """A script that minds warnings is content as well."""
    keys = {"ZDM_METRICS_PORT": "0", "ZDM_PROXY_LISTEN_PORT": "0", "ZDM_PROXY_MAX_CLIENT_CONNECTIONS": "10"}
    done = run("check", "--strict", **keys, **settings(*guarded.clusters))
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "Nothing to complain of."


def test_check_has_a_form_for_programs(guarded: Sandbox) -> None:
    """Nothing else goes to stdout, and the exit code is the same."""
    keys = {"ZDM_PROXY_TOPOLOGY_ADDRESSES": "203.0.113.1,203.0.113.2", "ZDM_PROXY_TOPOLOGY_INDEX": "1"}
    advertised = {"ZDM_PROXY_ADVERTISED_DATACENTER": "fleet", "ZDM_PROXY_ADVERTISED_RACK": "shelf"}
    done = run("check", "--json", "--strict", **keys, **advertised, **settings(*guarded.clusters))
    assert done.returncode == 3, done.stdout
    shown = json.loads(done.stdout)
    assert (shown["could_start"], shown["target_enabled"]) == (True, True)
    assert any("drivers are sent to 203.0.113.2" in found["text"] for found in shown["findings"])
    assert {found["severity"] for found in shown["findings"]} == {"warning"}
    assert shown["clusters"]["origin"]["contacted"] == f"{guarded.origin.host}:{guarded.origin.port}"
    drivers = [(row["table"], row["address"], row["datacenter"], row["rack"]) for row in shown["drivers"]]
    assert drivers == [
        ("system.peers", "203.0.113.1:14002", "fleet", "shelf"),
        ("system.local", "203.0.113.2:14002", "fleet", "shelf"),
    ]


def test_check_tells_a_program_that_the_proxy_could_not_start(sandbox: Sandbox) -> None:
    """With what is wrong on this machine beside it."""
    origin = SimpleNamespace(host=ORIGIN, port=free_port(ORIGIN), login=("", ""))
    keys = {**settings(origin, sandbox.target), "ZDM_PROXY_LISTEN_ADDRESS": "203.0.113.1"}
    done = run("check", "--json", **keys)
    shown = json.loads(done.stdout)
    assert (done.returncode, shown["could_start"]) == (1, False)
    about = {found["about"] for found in shown["findings"] if found["severity"] == "error"}
    assert about == {"PROXY", "ORIGIN"} and list(shown["clusters"]) == ["target"]
