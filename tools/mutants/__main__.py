"""`make mutants`: see the package's docstring."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tools.mutants.fault import ROOT, Fault, Misfit
from tools.mutants.faults import FAULTS
from tools.mutants.workbench import Verdict, Workbench

ALL_KILLED, SURVIVORS, NO_VERDICT = 0, 1, 2


@click.command()
@click.argument("words", nargs=-1)
@click.option("--list", "only_list", is_flag=True, help="Name the faults and do nothing.")
@click.option("-j", "jobs", default=os.cpu_count() or 1, show_default=True, help="So many at a time.")
@click.option("--no-control", is_flag=True, help="Do not first see that the tests pass without a fault.")
def main(words: Sequence[str], only_list: bool, jobs: int, no_control: bool) -> None:
    """Make deliberate faults, all or those that a word of WORDS occurs in, and see that a test fails of each."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # in a log there is no edge to keep to
    chosen = [fault for fault in FAULTS if _is_meant(fault, words)]
    if not chosen:
        raise click.UsageError("no fault is called so; see --list")
    if only_list:
        console.print(_table(chosen, {}))
        return
    try:
        for fault in chosen:
            fault.check()
    except Misfit as misfit:
        console.print(str(misfit), style="red", markup=False)
        sys.exit(NO_VERDICT)
    with tempfile.TemporaryDirectory(prefix="perdure-mutants-") as directory:
        benches = [Workbench(Path(directory) / str(number)) for number in range(max(1, min(jobs, len(chosen))))]
        place = benches[0].place_of_package()
        if not place.startswith(directory):
            console.print(f"the tests would not run on the copy, but on {place}", style="red")
            sys.exit(NO_VERDICT)
        if not no_control:
            _control(console, benches, chosen)
        verdicts = dict(_all(console, "faults", benches, chosen, Workbench.try_out))
    console.print(_table(chosen, verdicts))
    undecided = sum(bool(verdict.trouble) for verdict in verdicts.values())
    survivors = sum(not verdict.killed for verdict in verdicts.values()) - undecided
    console.print(f"{len(chosen)} faults, {survivors} survived, {undecided} without a verdict")
    sys.exit(SURVIVORS if survivors else NO_VERDICT if undecided else ALL_KILLED)


def _is_meant(fault: Fault, words: Sequence[str]) -> bool:
    places = " ".join(edit.file for edit in fault.edits)
    text = f"{fault.area} {fault.name} {places}".lower()
    return not words or any(word.lower() in text for word in words)


def _control(console: Console, benches: Sequence[Workbench], chosen: Sequence[Fault]) -> None:
    """A fault is killed by a failing test only if that passes without it."""
    files: dict[str, list[str]] = {}
    for test in dict.fromkeys(test for fault in chosen for test in fault.tests):
        files.setdefault(test.partition("::")[0], []).append(test)
    groups = [[file] if file in tests else tests for file, tests in files.items()]
    found = _all(console, "without a fault", benches, groups, Workbench.failures)
    failed = [name for _, names in found for name in names]
    if failed:
        console.print("These fail without any fault, so nothing can be said:", style="red")
        for name in failed:
            console.print(f"  {name}", markup=False)
        sys.exit(NO_VERDICT)


def _all(
    console: Console,
    what: str,
    benches: Sequence[Workbench],
    items: Sequence[Any],
    work: Callable[[Workbench, Any], Any],
) -> list[tuple[Any, Any]]:
    """Every item with what came of it, in no order; each bench works on one at a time."""
    free: SimpleQueue[Workbench] = SimpleQueue()
    for bench in benches:
        free.put(bench)

    @contextmanager
    def borrowed() -> Any:
        bench = free.get()
        try:
            yield bench
        finally:
            free.put(bench)

    def one(item: Any) -> Any:
        with borrowed() as bench:
            return work(bench, item)

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    done = []
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(len(benches)) as pool:
        task = progress.add_task(what, total=len(items))
        futures = {pool.submit(one, item): item for item in items}
        for future in as_completed(futures):
            item, result = futures[future], future.result()
            done.append((item, result))
            if isinstance(result, Verdict) and not result.killed:
                progress.console.print(f"{_word(result)}: {item.name}", style="red", markup=False)
            progress.advance(task)
    return done


def _word(verdict: Verdict) -> str:
    if verdict.killed:
        return "killed"
    return verdict.trouble or "SURVIVED"


def _table(faults: Sequence[Fault], verdicts: dict[Fault, Verdict]) -> Table:
    table = Table("area", "fault", "killed by" if verdicts else "where", title_justify="left", show_lines=False)
    for fault in faults:
        verdict = verdicts.get(fault)
        if verdict is None:
            last = ", ".join(edit.file for edit in fault.edits)
        elif verdict.killed:
            name = verdict.by.partition("::")[2].partition("[")[0]
            last = name + (" (by its time limit)" if verdict.hung else "")
        else:
            last = f"[red]{_word(verdict)}[/red]"
        table.add_row(fault.area, fault.name, last)
    return table


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
