"""`holdfast demo`: real processes are started and killed under shoppers, with Holdfast and with today's ways.

Everything is checked before the first process starts. Whatever takes long to import, asyncio and the lab, is
imported only when the demo runs, so that `holdfast --help` stays quick.
"""

from __future__ import annotations

import argparse
import math
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Coroutine, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, HoldfastError

if TYPE_CHECKING:
    from ..lab.progress import Watch
    from ..lab.report import Settings
    from ..lab.strategies import Strategy
    from ..lab.trial import Trial

PACKAGES = ("aiohttp", "cryptography", "itsdangerous", "rich", "starlette", "uvicorn")
LONGEST = 3600
MOST_USERS = 2000
MOST_INSTANCES = 64
PROBE_TIMEOUT = 5.0  # seconds that a store has to answer before the demo begins


def register(subparsers: Any) -> None:
    """Add `demo` to the command."""
    parser = subparsers.add_parser(
        "demo",
        help="show that no session is lost while processes come and go",
        description="Start, freeze and kill real processes under simulated shoppers, with Holdfast and with "
        "today's usual ways of keeping sessions, and count the promises that each of them breaks. "
        "Exit status: 0, Holdfast kept every promise; 1, it broke one; 2, the demo could not run.",
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each strategy runs (20)")
    parser.add_argument("--users", type=int, default=60, help="browsers, each with two tabs (60)")
    parser.add_argument("--min-instances", type=int, default=1, metavar="N", help="fewest processes (1)")
    parser.add_argument("--max-instances", type=int, default=6, metavar="N", help="most processes (6)")
    parser.add_argument("--seed", type=int, help="repeat a run: same faults, same journeys (random)")
    parser.add_argument(
        "--store",
        action="append",
        default=[],
        metavar="URL",
        help="a store to try Holdfast on too; the demo leaves sessions in it; may be given several times",
    )
    parser.add_argument(
        "--copies",
        action="store_true",
        help="compare copies in the instances too, Holdfast's and the usual cache-aside, and sessions that browsers "
        "carry; shoppers then also browse",
    )
    parser.add_argument(
        "--cache",
        metavar="URL",
        help="compare a shared cache (redis://, memcached://) before the database as well; includes --copies",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts to FILE")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a report with plots to FILE")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; the exit status. Raises `ConfigError` if it cannot begin, or cannot go on."""
    _check(arguments)
    import asyncio

    try:
        return _demo(arguments)
    except KeyboardInterrupt:
        return _stopped(signal.SIGINT)
    except asyncio.CancelledError:
        return _stopped(signal.SIGTERM)


def _demo(arguments: argparse.Namespace) -> int:
    import asyncio

    from ..lab.report import Settings, broken

    for url in arguments.store:
        asyncio.run(_probe(url))
    if arguments.cache is not None:
        asyncio.run(_probe_cache(arguments.cache))
    settings = Settings(
        arguments.seconds,
        arguments.users,
        arguments.min_instances,
        arguments.max_instances,
        secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed,
        arguments.store,
        arguments.copies,
        arguments.cache,
    )
    print(f"Seed {settings.seed}; --seed {settings.seed} repeats this run.", flush=True)
    workdir = Path(tempfile.mkdtemp(prefix="holdfast-demo-"))
    failed = False
    try:
        trials = _run_all(settings, workdir)
        failed = any(trial.row["holdfast"] and broken(trial.row) for trial in trials)
        _tell(trials, settings, arguments)
    finally:
        if not failed:
            shutil.rmtree(workdir, ignore_errors=True)
    if failed:
        print(f"Histories, for whoever looks for the reason: {workdir}")
    return 1 if failed else 0


def _run_all(settings: Settings, workdir: Path) -> list[Trial]:
    import asyncio

    from rich.console import Console

    from ..lab.progress import watch
    from ..lab.strategies import strategies

    planned = strategies(settings.stores, workdir, copies=settings.copies, cache=settings.cache)
    console = Console(stderr=True, highlight=False, force_terminal=None if sys.stdout.isatty() else False)
    try:
        with watch(planned, settings.seconds, console) as watching:
            return asyncio.run(_trials(planned, settings, workdir, watching))
    except (HoldfastError, OSError, ExceptionGroup) as error:
        reason: Exception = error
        while isinstance(reason, ExceptionGroup):
            reason = reason.exceptions[0]
        if not isinstance(reason, (HoldfastError, OSError)):
            raise
        raise ConfigError(f"the demo could not go on: {reason}") from error


def _tell(trials: list[Trial], settings: Settings, arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from ..lab.page import page
    from ..lab.report import as_json, reading_help, table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    console.print()
    console.print(table(trials, console.width, ascii_only=console.options.ascii_only))
    console.print()
    for line in reading_help(trials):
        console.print(line)
    if arguments.json is not None:
        _write(arguments.json, as_json(settings.seed, trials))
    if arguments.html is not None:
        _write(arguments.html, page(trials, settings, _circumstances()))
        print(f"The report with plots: {arguments.html}")


async def _trials(
    planned: Sequence[Strategy], settings: Settings, workdir: Path, watching: Watch
) -> list[Trial]:
    import asyncio

    from ..lab.trial import trial

    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    trials = []
    for number, strategy in enumerate(planned, start=1):
        found = await trial(
            strategy,
            seconds=settings.seconds,
            users=settings.users,
            min_instances=settings.min_instances,
            max_instances=settings.max_instances,
            seed=settings.seed,
            browse=settings.browse,
            history_path=workdir / f"history-{number}.jsonl",
            progress=watching.begin(strategy),
        )
        watching.end(found)
        trials.append(found)
    return trials


def _check(arguments: argparse.Namespace) -> None:
    """Raise `ConfigError` for whatever would make the demo fail later."""
    if not (math.isfinite(arguments.seconds) and 1 <= arguments.seconds <= LONGEST):
        raise ConfigError(f"--seconds must be between 1 and {LONGEST}, not {arguments.seconds:g}")
    if not 1 <= arguments.users <= MOST_USERS:
        raise ConfigError(f"--users must be between 1 and {MOST_USERS}, not {arguments.users}")
    if not 1 <= arguments.min_instances <= arguments.max_instances <= MOST_INSTANCES:
        raise ConfigError(
            f"instances must be 1 <= --min-instances <= --max-instances <= {MOST_INSTANCES}, "
            f"not {arguments.min_instances} and {arguments.max_instances}"
        )
    if os.name != "posix":
        raise ConfigError("the demo freezes and kills processes by signals, which only POSIX systems have")
    missing = [package for package in PACKAGES if find_spec(package) is None]
    if missing:
        raise ConfigError(f"the demo needs {', '.join(missing)}: pip install 'holdfast[lab]'")
    if arguments.json and arguments.html and arguments.json.resolve() == arguments.html.resolve():
        raise ConfigError("--json and --html name the same file")
    for option in ("json", "html"):
        path: Path | None = getattr(arguments, option)
        if path is not None:
            _check_writable(f"--{option}", path)


def _check_writable(option: str, path: Path) -> None:
    """Make the folder, and open the file for writing; a file that was not there is not there afterwards."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        existed = path.exists()
        path.open("ab").close()
        if not existed:
            path.unlink()
    except OSError as error:
        raise ConfigError(f"{option} {path} cannot be written: {error.strerror or error}") from error


async def _probe(url: str) -> None:
    """Read from the store once. Raises `ConfigError` if it does not answer, or is in one process only."""
    from ..stores import from_url

    store = from_url(url)
    if url.lower().startswith("memory:"):
        raise ConfigError("--store memory: is not shared between processes, so the demo cannot use it")
    await _answers("--store", url, store, store.load("0" * 64))


async def _probe_cache(url: str) -> None:
    """Look into the cache once. Raises `ConfigError` if it does not answer, or is none that processes share."""
    from ..copies.cache import holder_of

    if url.lower().startswith("memory:"):
        raise ConfigError("--cache memory: is not shared between processes, so the demo cannot use it")
    holder = holder_of(url)
    await _answers("--cache", url, holder, holder.get_copy("0" * 64))


async def _answers(option: str, url: str, store: object, asking: Coroutine[Any, Any, object]) -> None:
    """Wait for the answer of a store, and let go of its connections. Raises `ConfigError` if there is none."""
    import asyncio

    from .. import _colour
    from ..lab.report import without_secrets

    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            if "async" in getattr(store, "colours", ("async",)):
                await asking
            else:
                await _colour.off_loop(asking)
    except Exception as error:  # each store raises its own client's errors
        reason = str(error) or type(error).__name__
        raise ConfigError(f"{option} {without_secrets(url)} does not answer: {reason}") from error
    finally:
        close = getattr(store, "aclose", None)
        if close is not None:
            await close()


def _stopped(by: signal.Signals) -> int:
    print("holdfast: stopped; all processes of the demo have ended", file=sys.stderr)
    return 128 + by


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} could not be written: {error.strerror or error}") from error


def _circumstances() -> str:
    """When and on what the demo ran, for the foot of the report."""
    import datetime
    import platform
    from importlib.metadata import version

    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    cores = os.cpu_count()
    return (
        f"Made on {today} by Holdfast {version('holdfast')} on Python {platform.python_version()}, "
        f"{platform.system()}, {cores} {'core' if cores == 1 else 'cores'}."
    )
