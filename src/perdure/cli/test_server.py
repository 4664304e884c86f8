"""`perdure-test-server PORT`: a server that skips time, as the SDKs' test environments launch it.

The launchers give the port and nothing else, connect to 127.0.0.1, and kill the process in the end.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from perdure import __version__
from perdure.cli.main import database, global_options, run
from perdure.config import (
    Config,
    namespaces_with_default,
    normal_ip,
    parse_dynamic_config,
    parse_search_attributes,
)


@click.command(
    "perdure-test-server", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, "-v", "--version", prog_name="perdure-test-server", message="%(prog)s %(version)s")
@click.argument("port", type=click.IntRange(0, 65535))
@click.option("--enable-time-skipping", is_flag=True, help="Let time skip from the start; else a client unlocks it.")
@click.option("--ip", default="localhost", show_default=True, help="Address to listen on.")
@click.option("-f", "--db-filename", help="SQLite file, created when missing. Without it all is kept in memory.")
@click.option("-n", "--namespace", "namespaces", multiple=True, help="Namespace to have besides `default`; repeatable.")
@click.option(
    "--search-attribute",
    "search_attributes",
    multiple=True,
    metavar="KEY=TYPE",
    help="Text, Keyword, Int, Double, Bool, Datetime or KeywordList; repeatable.",
)
@click.option(
    "--dynamic-config-value",
    "dynamic_config",
    multiple=True,
    metavar="KEY=JSON",
    help="A setting by Temporal's name, such as limit.blobSize.error=1048576; repeatable.",
)
@click.option("--outlive-parent", is_flag=True, help="Keep running when the process that started this one has ended.")
@global_options
@click.pass_context
def test_server(
    context: click.Context,
    /,
    port: int,
    enable_time_skipping: bool,
    ip: str,
    db_filename: str | None,
    namespaces: tuple[str, ...],
    search_attributes: tuple[str, ...],
    dynamic_config: tuple[str, ...],
    outlive_parent: bool,
) -> None:
    """Start a server on virtual time, and run it until it is stopped or the process that started it ends.

    \b
    Examples:
      perdure-test-server 7233
      perdure-test-server 7233 --enable-time-skipping
    """
    options: dict[str, Any] = context.ensure_object(dict)
    config = Config(
        ip=normal_ip(ip),
        port=port,
        namespaces=namespaces_with_default(namespaces),
        search_attributes=parse_search_attributes(search_attributes),
        db_filename=database(db_filename),
        dynamic=parse_dynamic_config(dynamic_config),
        time_skipping=True,
        time_locked=not enable_time_skipping,
        log_level=options.get("log_level", "warn"),
        log_format=options.get("log_format", "text"),
    )
    from perdure.cli.serve import serve

    status = serve(
        config,
        banner=options.get("output") != "none",
        compose=options.get("compose"),
        with_parent=not outlive_parent,
    )
    context.exit(status)


def main(argv: Sequence[str] | None = None) -> None:
    """Run `perdure-test-server` and exit; see `perdure.cli.main.main` for the statuses."""
    run(test_server, "perdure-test-server", sys.argv[1:] if argv is None else argv)
