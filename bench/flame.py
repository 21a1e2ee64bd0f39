"""Show where the proxy's time goes under one load: a flame graph, and the share of each library and of the kernel.

    python bench/flame.py [--mode write] [--depth 16] [--output build/bench/flame.svg]

The graph needs `py-spy` (`pip install 'zdm-proxy[bench]'`), the shares need Linux's `perf`, and both the right to look
into another process; what is missing is said and left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from contestants import LISTEN, ours
from plans import MODES
from processes import BenchError, build, family, running, start_stubs
from record import SCRATCH

ENDLESS: Final = 1_000_000_000  # requests: the load is stopped when there are samples enough
PARTS: Final = {"[kernel.kallsyms]": "kernel", "zdm__mypyc": "zdm, compiled", "loop.": "uvloop", "libpython": "Python"}
# what the kernel does, by functions none of which calls another one of them
TASKS: Final = {"tcp_sendmsg": "sending", "tcp_recvmsg": "receiving", "do_epoll_wait": "waiting"}
SAMPLES_A_SECOND: Final = 500


@contextmanager
def under_load(options: argparse.Namespace) -> Iterator[int]:
    """The process that serves the clients, while the load goes through it."""
    listen = LISTEN.format(21)
    with tempfile.TemporaryDirectory(prefix="zdm-bench-") as directory, ExitStack() as processes:
        build(work := Path(directory))
        start_stubs(processes, work, options.ids, 100)
        proxy = ours(listen, program=options.program)
        log = work / "proxy.log"
        pid = processes.enter_context(running(proxy.name, proxy.command, listen, log, proxy.environment))
        command = [str(work / "load"), "-addr", listen, "-mode", options.mode, "-depth", str(options.depth)]
        load = subprocess.Popen([*command, "-conns", str(options.clients), "-n", str(ENDLESS)])
        try:
            yield family(pid)[-1]
        finally:
            load.terminate()
            load.wait()


def flame_graph(pid: int, seconds: int, output: Path) -> str:
    """Write the graph as SVG; says what came of it."""
    program = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        return "No flame graph: py-spy is missing. Install it with `pip install 'zdm-proxy[bench]'`."
    command = [program, "record", "--native", "--pid", str(pid), "--duration", str(seconds), "--format", "flamegraph"]
    command += ["--rate", str(SAMPLES_A_SECOND), "--output", str(output)]
    run = subprocess.run(command, capture_output=True, text=True)
    return f"Flame graph in {output}" if run.returncode == 0 else f"No flame graph: {run.stderr.strip()}"


def shares(pid: int, seconds: int, work: Path) -> dict[str, float]:
    """Percent of CPU time of each library and of the kernel; empty where `perf` is missing or may not look."""
    if shutil.which("perf") is None:
        return {}
    samples = work / "perf.data"
    command = ["perf", "record", "-q", "-g", "-e", "cpu-clock", "-F", str(SAMPLES_A_SECOND), "-p", str(pid)]
    if subprocess.run([*command, "-o", str(samples), "--", "sleep", str(seconds)], capture_output=True).returncode:
        return {}
    counted: defaultdict[str, float] = defaultdict(float)
    for library, share in perf_report(samples, "--no-children", "--sort", "dso"):
        counted[part(library)] += share
    for name, share in perf_report(samples, "--children", "--sort", "sym"):
        task = TASKS.get(name.removeprefix("[k] "))
        if task:
            counted[f"kernel, {task}"] += share
            counted["kernel"] -= share
    counted["kernel, else"] = counted.pop("kernel")
    return dict(sorted(counted.items(), key=lambda each: -each[1]))


def perf_report(samples: Path, *options: str) -> Iterator[tuple[str, float]]:
    command = ["perf", "report", "-q", "-i", str(samples), "-g", "none", "--stdio", *options]
    for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines():
        columns = line.split("%")
        if len(columns) > 1:  # the last percentage is the share itself, or with children the one before that
            yield columns[-1].strip(), float(columns[0])


def part(library: str) -> str:
    return next((name for start, name in PARTS.items() if library.startswith(start)), library)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", default="write", choices=MODES)
    parser.add_argument("--ids", default="own", choices=["shared", "own"])
    parser.add_argument("--depth", type=int, default=16)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=10, help="of the graph, and of the shares again")
    parser.add_argument("--program", type=Path, help="another build of zdm-proxy than the one beside this Python")
    parser.add_argument("--output", type=Path, default=SCRATCH / "flame.svg")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    try:
        with under_load(options) as pid, tempfile.TemporaryDirectory(prefix="zdm-bench-") as work:
            found = shares(pid, options.seconds, Path(work))
            print(flame_graph(pid, options.seconds, options.output))
    except BenchError as failed:
        print(failed, file=sys.stderr)
        return 1
    for name, share in found.items():
        print(f"{share:6.1f} %  {name}")
    if not found:
        print("No shares of libraries: `perf` is missing or may not look into the process.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
