"""Run the suites of the languages named (all when none is), print what came of each story, end non-zero on a failure.

A language whose toolchain this machine lacks is skipped, and said to be. A download that fails is a failure.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from perdure.api.registry import SERVED
from tests.interop.languages import LANGUAGES, Failed, Missing
from tests.support.server_process import ServerProcess, free_port, running_dev_server
from tools import compatibility

EXECUTABLES = Path(sys.executable).parent
SEARCH_ATTRIBUTES = ("--search-attribute", "CustomerId=Keyword", "--search-attribute", "Amount=Int")


def main(names: Sequence[str]) -> int:
    if strangers := set(names) - set(LANGUAGES):
        print(f"no such language: {', '.join(sorted(strangers))}; there are {', '.join(LANGUAGES)}", file=sys.stderr)
        return 2
    outcomes = {name: run(name) for name in names or LANGUAGES}
    print("\n---- interop ----")
    for name, outcome in outcomes.items():
        print(f"{name:12} {outcome}")
    return int(any(outcome.startswith("failed") for outcome in outcomes.values()))


def run(name: str) -> str:
    language = LANGUAGES[name]
    began = time.perf_counter()
    try:
        print(f"\n{name}: {language.toolchain()}", flush=True)
        language.build()
        built = time.perf_counter()
        with servers() as settings:
            language.run(settings)
    except Missing as missing:
        return f"skipped: {missing}"
    except Failed as failure:
        return f"failed: {failure}"
    return f"ok (downloads and build {built - began:.0f} s, stories {time.perf_counter() - built:.0f} s)"


@contextlib.contextmanager
def servers() -> Iterator[dict[str, str]]:
    """A server on the wall clock and one whose time skips, as the environment tells the programs of them."""
    with running_dev_server(*SEARCH_ATTRIBUTES) as server:
        port = free_port()
        skipping = ServerProcess([str(EXECUTABLES / "perdure-test-server"), str(port)], port)
        try:
            yield {
                "PERDURE_ADDRESS": server.address,
                "PERDURE_SKIPPING_ADDRESS": skipping.address,
                "PERDURE_UNSERVED": ",".join(unserved()),
                "PERDURE": str(EXECUTABLES / "perdure"),
            }
        finally:
            skipping.stop()


def unserved() -> list[str]:
    return [rpc for service in SERVED for rpc, there in compatibility.rpcs(service) if not there]


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[2])
    sys.exit(main(sys.argv[1:]))
