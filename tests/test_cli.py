"""The command line, run as a process: options as the reference has them, exit codes, and the lines of a failed start.

Spec section 9.1, and 1.1 for configuration errors.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from zdm import __version__

ROOT = Path(__file__).parents[1]
MINIMAL = "origin_contact_points: 127.0.0.1\ntarget_contact_points: 127.0.0.1\n"


def zdm_proxy(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The program with exactly these `ZDM_*` variables."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ZDM_")}
    return subprocess.run(
        [sys.executable, "-m", "zdm", *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        cwd=ROOT,
        env=environment | variables,
    )


def messages(stderr: str) -> list[tuple[str, str]]:
    return re.findall(r'^time="[^"]+" level=(\w+) msg="(.*)"$', stderr, flags=re.MULTILINE)


@pytest.mark.parametrize("option", ["-version", "--version", "-v"])
def test_the_version_goes_to_standard_output(option: str) -> None:
    """In the words of the reference, with one dash or two."""
    done = zdm_proxy(option)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"ZDM proxy version {__version__}\n", "")


@pytest.mark.parametrize("option", ["-h", "--help", "-help"])
def test_the_usage_is_enough_to_start(option: str) -> None:
    """Whoever has nothing but the program finds the concepts, the keys that are needed and an example."""
    done = zdm_proxy(option)
    assert done.returncode == 0
    for word in ("origin", "target", "primary", "check", "sandbox", "zdm-proxy target disable", "Example"):
        assert word in done.stdout
    for cluster in ("ORIGIN", "TARGET"):
        for key in ("CONTACT_POINTS", "USERNAME", "PASSWORD"):
            assert f"ZDM_{cluster}_{key}" in done.stdout


@pytest.mark.parametrize("option", ["-h", "--help", "-help"])
def test_the_usage_of_the_targets_switch_is_enough_to_use_it(option: str) -> None:
    """Whoever needs it has no time to read elsewhere."""
    done = zdm_proxy("target", option)
    assert done.returncode == 0
    for word in ("status", "enable", "disable", "--url", "--token-file", "--wait", "Exit codes", "Examples", "  8  "):
        assert word in done.stdout


@pytest.mark.parametrize("arguments", [["--nonsense"], ["-x"], ["-conf", "x"], ["--conf", "x"], ["--config"], ["run"]])
def test_what_is_not_understood_ends_with_2(arguments: list[str]) -> None:
    """No abbreviations either: an option of a later version must not be taken for one of this."""
    done = zdm_proxy(*arguments)
    assert done.returncode == 2
    assert "usage: zdm-proxy" in done.stderr


def test_a_configuration_error_is_two_lines_and_255() -> None:
    """What supervisors of the reference look at."""
    done = zdm_proxy()
    assert done.returncode == 255
    (first_level, first), (second_level, second) = messages(done.stderr)
    assert (first_level, first) == ("info", f"Starting ZDM proxy version {__version__}")
    assert second_level == "error"
    assert second.startswith(
        "Error loading configuration: could not load environment variables:"
        " required key ZDM_ORIGIN_USERNAME missing value"
    )
    assert second.endswith(". Aborting startup.")
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("form", ["-config {}", "-config={}", "--config {}", "--config={}"])
@pytest.mark.parametrize("command", ["", "check "])
def test_the_file_is_given_in_any_form(tmp_path: Path, form: str, command: str) -> None:
    """With one dash or two, with a blank or an equals sign, before or behind a command."""
    path = tmp_path / "zdm.yaml"
    path.write_text(MINIMAL + "primary_cluster: NONE\n")
    done = zdm_proxy(*(command + form.format(path)).split())
    assert done.returncode == 255
    assert "invalid value for ZDM_PRIMARY_CLUSTER" in done.stderr


def test_an_empty_file_name_counts_as_none() -> None:
    done = zdm_proxy("-config=")
    assert "could not load environment variables" in done.stderr


def test_set_is_heard_before_and_behind_a_command(tmp_path: Path) -> None:
    path = tmp_path / "zdm.yaml"
    path.write_text(MINIMAL)
    done = zdm_proxy(
        "-config", str(path), "--set", "origin_port=x", "-set=read_mode=y", "check", "--set", "log_level=z"
    )
    assert done.returncode == 255
    for key in ("ORIGIN_PORT", "READ_MODE"):
        assert f"ZDM_{key}" in done.stderr
    assert "not a log level" in done.stderr


def test_no_secret_is_in_an_error() -> None:
    secrets = {"ZDM_ORIGIN_PASSWORD": "hunter-o", "ZDM_TARGET_PASSWORD": "hunter-t", "ZDM_LOG_LEVEL": "x"}
    done = zdm_proxy("--set", "target_password=hunter-s", **secrets)
    assert done.returncode == 255
    assert "hunter" not in done.stderr + done.stdout


def test_no_reactor_is_chosen_by_looking_at_options() -> None:
    """The first import of `twisted.internet.reactor` installs one, and then no other can be had."""
    program = "import sys, zdm.cli, zdm.config, zdm.log; print('twisted.internet.reactor' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "False\n"


def test_the_reference_of_all_keys_is_printed() -> None:
    """The same text as docs/configuration.md; nothing has to be configured for it."""
    done = zdm_proxy("config", "reference")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("arguments", [["config"], ["config", "show"]])
def test_config_wants_to_know_what(arguments: list[str]) -> None:
    assert zdm_proxy(*arguments).returncode == 2


def test_old_names_and_idle_keys_are_told_of_at_the_start() -> None:
    """By `check`, which loads as the proxy does; the clusters are not there."""
    done = zdm_proxy(
        "check",
        "--set", "origin_connection_timeout_ms=1", "--set", "target_connection_timeout_ms=1",
        "--set", "write_max_workers=3",
        ORIGIN_CASSANDRA_CONTACT_POINTS="127.0.80.99", ORIGIN_CASSANDRA_USERNAME="", ORIGIN_CASSANDRA_PASSWORD="hunter",
        TARGET_CASSANDRA_CONTACT_POINTS="127.0.80.99", TARGET_CASSANDRA_USERNAME="", TARGET_CASSANDRA_PASSWORD="hunter",
    )  # fmt: skip
    (line,) = [text for level, text in messages(done.stderr) if level == "warning"]
    assert line.startswith(
        "Variables of the first generation are deprecated, set the new ones: ORIGIN_CASSANDRA_CONTACT"
    )
    assert "TARGET_CASSANDRA_PASSWORD -> ZDM_TARGET_PASSWORD" in line
    assert ("info", "These keys tune queues, buffers and pools that are not there, and have no effect: "
            "ZDM_WRITE_MAX_WORKERS=3") in messages(done.stderr)  # fmt: skip
    assert "hunter" not in done.stderr + done.stdout


@pytest.mark.parametrize("option", ["--cpu-profile={}", "-cpu_profile {}", "-cpu-profile={}"])
def test_a_cpu_profile_that_cannot_be_made_ends_the_start(tmp_path: Path, option: str) -> None:
    """In either spelling; the reference calls it fatal."""
    path = tmp_path / "zdm.yaml"
    path.write_text(MINIMAL)
    done = zdm_proxy("-config", str(path), *option.format(tmp_path / "none" / "cpu").split())
    assert done.returncode == 1
    level, text = messages(done.stderr)[-1]
    assert level == "error" and text.startswith(f"Could not create the CPU profile {tmp_path}/none/cpu: No such file")


def test_profiles_are_of_the_proxy_alone() -> None:
    """An option without effect would be believed in."""
    done = zdm_proxy("--mem-profile", "x", "check")
    assert done.returncode == 2 and "profiles are taken of the proxy itself" in done.stderr
