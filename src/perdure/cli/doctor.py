"""`perdure doctor`: an examination, as lines for people or one JSON object for programs."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from dataclasses import asdict

import click

from perdure.clock import SystemMonotonic
from perdure.doctor import Findings, examine
from perdure.storage.store import StoreFailed

SOUND, FAULTY, NOT_EXAMINED = 0, 1, 2


def report(path: str, *, as_json: bool) -> int:
    """Print what is wrong with the file; returns the exit status."""
    clock = SystemMonotonic()
    began = clock.now()
    try:
        findings = _examined(path)
    except StoreFailed as error:
        click.echo(f"Error: {error}", err=True)
        return NOT_EXAMINED
    seconds = clock.now() - began
    if as_json:
        click.echo(json.dumps({**asdict(findings), "sound": findings.sound, "seconds": seconds}))
    else:
        click.echo(str(findings))
        click.echo(f"{seconds:.1f} s, {findings.events / max(seconds, 1e-6):,.0f} events/s")
        if findings.stale_tasks:
            click.echo(f"{findings.stale_tasks} rows of tasks that no run wants any more; pollers clear them away")
    return SOUND if findings.sound else FAULTY


def _examined(path: str) -> Findings:
    if not sys.stderr.isatty():
        return examine(path)
    with ExitStack() as stack:
        bar = None
        done_before = 0

        def progress(done: int, total: int) -> None:
            nonlocal bar, done_before
            if bar is None:
                bar = stack.enter_context(click.progressbar(length=total, label="Examining", file=sys.stderr))
                bar.update_min_steps = max(1, total // 200)
            bar.update(done - done_before)
            done_before = done

        return examine(path, progress)
