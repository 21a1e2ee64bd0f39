"""The command line: which configuration, and what to do with it. Spec section 9.1.

`zdm-proxy` runs the proxy, `zdm-proxy check` tries the configuration against both clusters, `zdm-proxy config
reference` prints what can be configured, `zdm-proxy sandbox` runs Cassandra nodes in memory, `zdm-proxy target`
switches the target of running proxies off and on, `zdm-proxy upgrade` has a new program take over. Options may be
written as the reference has them, with one dash or two, `-config FILE` or `-config=FILE`. Exit codes: 0, 2 for a
command line that cannot be understood, 255 for a configuration that cannot be used, else what the service says;
`check`, `target` and `upgrade` have more.

What runs the reactor is imported only when it is about to run, and the configuration's libraries when it is about to be
read: the target must be switched off at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from zdm import __version__

if TYPE_CHECKING:
    from zdm.config import Config
    from zdm.log import ProcessLog

CONFIGURATION_ERROR: Final = 255
PROFILE_ERROR: Final = 1

_ONE_DASH: Final = ("config", "set", "version", "help", "cpu_profile", "mem_profile", "cpu-profile", "mem-profile")

_CONCEPTS: Final = """\
Applications connect to the proxy as if it were their Cassandra cluster. Behind it are two:

  origin      the cluster with the data, as it is today
  target      the cluster to migrate to
  primary     the one of the two whose answers to reads the application gets (ZDM_PRIMARY_CLUSTER, first origin)

Writes go to both and succeed when both have succeeded; reads go to the primary.

Configuration comes from environment variables ZDM_<KEY>, or with --config from a YAML file of the same keys in lower
case and then from nothing else. --set goes on top. A secret can be given as a file: ZDM_ORIGIN_PASSWORD_FILE.
All keys: zdm-proxy config reference. SIGHUP makes a running proxy read its configuration again.

Needed:
  ZDM_ORIGIN_CONTACT_POINTS   hosts of origin, separated by commas     ZDM_ORIGIN_PORT (9042)
  ZDM_ORIGIN_USERNAME, ZDM_ORIGIN_PASSWORD
  ZDM_TARGET_CONTACT_POINTS   hosts of target, separated by commas     ZDM_TARGET_PORT (9042)
  ZDM_TARGET_USERNAME, ZDM_TARGET_PASSWORD
  ZDM_PROXY_LISTEN_ADDRESS    where applications connect (localhost)   ZDM_PROXY_LISTEN_PORT (14002)

Example, two clusters without authentication:
  ZDM_ORIGIN_CONTACT_POINTS=10.0.0.1 ZDM_ORIGIN_USERNAME= ZDM_ORIGIN_PASSWORD= \\
  ZDM_TARGET_CONTACT_POINTS=10.1.0.1 ZDM_TARGET_USERNAME= ZDM_TARGET_PASSWORD= \\
  zdm-proxy --set proxy_listen_address=0.0.0.0

Metrics and health: http://localhost:14001/metrics, /health/liveness, /health/readiness.

When target is sick: zdm-proxy target disable takes it out of the path while applications run; see target --help.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; gives its exit code."""
    given = [_two_dashes(text) for text in (sys.argv[1:] if arguments is None else arguments)]
    parser = _parser(given)
    options = parser.parse_args(given)
    if options.command and (options.cpu_profile or options.mem_profile):
        parser.error(f"profiles are taken of the proxy itself, not of {options.command}")
    if options.version:
        print(f"ZDM proxy version {__version__}")
        return 0
    if options.command == "sandbox":
        from zdm.sandbox import cli as sandbox

        return sandbox.run(options)
    if options.command == "target":
        from zdm.target_command import commands as target_command

        return target_command.run(options)
    if options.command == "upgrade":
        from zdm.upgrade import command as upgrade_command

        return upgrade_command.run(options)
    if options.command == "config":
        from zdm.config import reference_markdown

        print(reference_markdown(), end="")
        return 0
    return _with_configuration(options)


def _with_configuration(options: argparse.Namespace) -> int:
    from zdm.config import ConfigurationError, load, parsed_configuration_json
    from zdm.log import start
    from zdm.profiling import Profiles

    def read() -> Config:
        # an empty name counts as none, as in the reference
        return load(options.config or None, options.set + options.set_after)

    log = start()
    log.info(f"Starting ZDM proxy version {__version__}")
    try:
        config = read()
    except ConfigurationError as error:
        log.error(f"Error loading configuration: {error}. Aborting startup.")
        return CONFIGURATION_ERROR
    log.configure(config.log_level_name, config.log_format)
    log.info(f"Parsed configuration: {parsed_configuration_json(config)}")
    _warn(log, config, options.config)
    if options.command == "check":
        from zdm import check

        return check.run(config, options.json, options.strict)
    from zdm import program

    profiles = Profiles(options.cpu_profile, options.mem_profile)
    try:
        profiles.check()
    except OSError as failed:
        log.error(f"Could not create the CPU profile {profiles.cpu}: {failed.strerror}. Aborting startup.")
        return PROFILE_ERROR
    return program.run(config, log, read, profiles)


def _warn(log: ProcessLog, config: Config, config_file: str | None) -> None:
    from zdm.config import (
        deprecated_variables,
        not_yet_honoured,
        serves_nobody,
        unknown_variables,
        unknown_yaml_keys,
        weak_tls,
        without_effect,
    )

    deprecated = [] if config_file else deprecated_variables()
    if deprecated:
        log.warn(f"Variables of the first generation are deprecated, set the new ones: {', '.join(deprecated)}")
    idle = without_effect(config)
    if idle:
        log.info(f"These keys tune queues, buffers and pools that are not there, and have no effect: {', '.join(idle)}")
    ignored = not_yet_honoured(config)
    if ignored:
        log.warn(f"This version does not do what these keys ask for, and goes on without: {', '.join(ignored)}")
    unknown = unknown_yaml_keys(config_file) if config_file else unknown_variables()
    if unknown:
        log.warn(f"Names in {config_file or 'the environment'} that are no keys, ignored: {', '.join(unknown)}")
    for line in weak_tls(config):
        log.warn(line)
    nobody = serves_nobody(config)
    if nobody:
        log.warn(nobody)


def _two_dashes(text: str) -> str:
    """`-config=x` as `--config=x`; every other argument as it is."""
    name = text[1:].partition("=")[0]
    return f"-{text}" if text.startswith("-") and name in _ONE_DASH else text


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """Commands that have options of their own are asked for them only if `given` may be about them."""
    parser = argparse.ArgumentParser(
        prog="zdm-proxy",
        description="A proxy between Cassandra applications and two clusters, for migrations without downtime.",
        epilog=_CONCEPTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_configuration(parser, config=None, set_name="set")
    parser.add_argument("-v", "--version", action="store_true", help="print the version and exit")
    for name, written in (("cpu", "where time is spent (pstats)"), ("mem", "what holds memory (tracemalloc)")):
        text = f"write to this file at the end {written}; of each worker to FILE.worker1 and so on"
        parser.add_argument(f"--{name}-profile", f"--{name}_profile", metavar="FILE", default="", help=text)
    parser.set_defaults(set_after=[])
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="instead of running the proxy")
    text = "try the configuration against both clusters, and exit"
    exits = "Exit codes: 0 where the proxy could serve, 1 where it could not, 3 with --strict where there are warnings."
    check = commands.add_parser("check", help=text, description=_sentence(text), epilog=exits, allow_abbrev=False)
    _add_configuration(check, config=argparse.SUPPRESS, set_name="set_after")
    check.add_argument("--json", action="store_true", help="print one JSON object")
    check.add_argument("--strict", action="store_true", help="exit code 3 where there are warnings")
    text = "what can be configured"
    printed = commands.add_parser("config", help=text, description=_sentence(text), allow_abbrev=False)
    printed.add_argument(
        "what", choices=["reference"], help="every key: name, type, default, meaning, how it is changed"
    )
    text = "run Cassandra nodes in memory, to try the proxy with"
    nodes = commands.add_parser("sandbox", help=text, description=_sentence(text), allow_abbrev=False)
    if "sandbox" in given:
        from zdm.sandbox import cli as sandbox

        sandbox.add_arguments(nodes)
    text = "ask running proxies for the target's state, switch it off and on"
    target = commands.add_parser("target", help=text, description=_sentence(text), allow_abbrev=False)
    if "target" in given:
        from zdm.target_command import commands as target_command

        target_command.add_arguments(target)
        _add_configuration(target, config=argparse.SUPPRESS, set_name="set_after")
    text = "have a new program take over from a running proxy, without downtime"
    upgrade = commands.add_parser("upgrade", help=text, description=_sentence(text), allow_abbrev=False)
    if "upgrade" in given:
        from zdm.upgrade import command as upgrade_command

        upgrade_command.add_arguments(upgrade)
    return parser


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _add_configuration(parser: argparse.ArgumentParser, config: str | None, set_name: str) -> None:
    parser.add_argument("--config", metavar="FILE", default=config, help="read this YAML file, not the environment")
    parser.add_argument(
        "--set", dest=set_name, metavar="KEY=VALUE", action="append", default=[], help="set one key (can be repeated)"
    )
