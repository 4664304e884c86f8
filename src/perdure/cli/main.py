"""The `perdure` command. What only the server needs is imported once its command line is understood."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from perdure import __version__
from perdure.config import (
    DEFAULT_PORT,
    Config,
    ConfigError,
    namespaces_with_default,
    normal_ip,
    parse_dynamic_config,
    parse_pragmas,
    parse_search_attributes,
)

if TYPE_CHECKING:
    from perdure.server import Compose

_SWITCHES = (
    "headless",
    "time-skipping",
    "enable-time-skipping",
    "log-config",
    "ui-disable-news-fetch",
    "disable-config-file",
    "disable-config-env",
    "no-json-shorthand-payloads",
)

LOG_LEVELS = ("debug", "info", "warn", "error", "never", "fatal")

_NOT_OFFERED = {
    "ui_port": "no UI is served",
    "ui_ip": "no UI is served",
    "ui_public_path": "no UI is served",
    "ui_asset_path": "no UI is served",
    "ui_codec_endpoint": "no UI is served",
    "ui_disable_news_fetch": "no UI is served",
    "http_port": "no HTTP API is served",
    "command_timeout": "the server runs until it is stopped",
}
"""Flags of the reference's launchers that we take and cannot honour, and why."""


def global_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags that are taken at every level, as launchers place them anywhere. They travel in the context's `obj`."""

    def remember(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        if value is not None and value is not False:
            context.ensure_object(dict)[parameter.name] = value
        return value

    def option(*names: str, **settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return click.option(*names, expose_value=False, callback=remember, **settings)

    options = [
        option(
            "--log-level",
            type=click.Choice(LOG_LEVELS, case_sensitive=False),
            help="Server log level.  [default: warn]",
        ),
        option(
            "--log-format",
            type=click.Choice(["text", "json", "pretty"], case_sensitive=False),
            help="Server log format.  [default: text]",
        ),
        option(
            "-o",
            "--output",
            type=click.Choice(["text", "json", "jsonl", "none"], case_sensitive=False),
            help="none: print no banner.",
        ),
        option("--time-format", hidden=True),
        option("--color", hidden=True),
        option("--env", hidden=True),
        option("--env-file", hidden=True),
        option("--config-file", hidden=True),
        option("--profile", hidden=True),
        option("--disable-config-file", is_flag=True, hidden=True),
        option("--disable-config-env", is_flag=True, hidden=True),
        option("--no-json-shorthand-payloads", is_flag=True, hidden=True),
        option("--command-timeout", hidden=True),
        option("--client-connect-timeout", hidden=True),
    ]
    for decorate in reversed(options):
        command = decorate(command)
    return command


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(context_settings=_SETTINGS)
@click.version_option(__version__, "-v", "--version", prog_name="perdure", message="%(prog)s %(version)s")
@global_options
def perdure() -> None:
    """A durable-execution server that speaks Temporal's gRPC API.

    Start one, then point any Temporal SDK, or the temporal CLI, at localhost:7233.

    \b
    Examples:
      perdure server start-dev                              in memory, gone when it stops
      perdure server start-dev --db-filename orders.db      kept in one SQLite file
      perdure server start-dev -n orders --search-attribute CustomerId=Keyword
      perdure doctor --db-filename orders.db                is that file sound?
    """


@perdure.group()
@global_options
def server() -> None:
    """Run a server.

    \b
    Example:
      perdure server start-dev --db-filename orders.db
    """


@server.command("start-dev")
@click.option("-f", "--db-filename", help="SQLite file, created when missing. Without it all is kept in memory.")
@click.option("-n", "--namespace", "namespaces", multiple=True, help="Namespace to have besides `default`; repeatable.")
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="gRPC port; 0 takes a free one.",
)
@click.option("--ip", default="localhost", show_default=True, help="Address to listen on.")
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
@click.option(
    "--sqlite-pragma",
    "pragmas",
    multiple=True,
    metavar="KEY=VALUE",
    help="A SQLite pragma, such as synchronous=OFF; repeatable.",
)
@click.option("--time-skipping", is_flag=True, help="Virtual time, which the SDKs' test environments skip.")
@click.option("--log-config", is_flag=True, help="Print the configuration to stderr at start.")
@click.option("--headless", is_flag=True, help="Without a UI, which is how it runs anyway.")
@click.option("--ui-port", hidden=True)
@click.option("--ui-ip", hidden=True)
@click.option("--ui-public-path", hidden=True)
@click.option("--ui-asset-path", hidden=True)
@click.option("--ui-codec-endpoint", hidden=True)
@click.option("--ui-disable-news-fetch", is_flag=True, hidden=True)
@click.option("--http-port", hidden=True)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="Port of /metrics, for Prometheus; 0 takes a free one.  [default: none]",
)
@global_options
@click.pass_context
def start_dev(
    context: click.Context,
    /,
    db_filename: str | None,
    namespaces: tuple[str, ...],
    port: int,
    ip: str,
    search_attributes: tuple[str, ...],
    dynamic_config: tuple[str, ...],
    pragmas: tuple[str, ...],
    time_skipping: bool,
    log_config: bool,
    metrics_port: int | None,
    **others: Any,
) -> None:
    """Start a development server and run it until Ctrl-C.

    \b
    Examples:
      perdure server start-dev
      perdure server start-dev --db-filename orders.db --port 7300
      perdure server start-dev -n orders -n billing --search-attribute CustomerId=Keyword
    """
    options: dict[str, Any] = context.ensure_object(dict)
    config = Config(
        ip=normal_ip(ip),
        port=port,
        namespaces=namespaces_with_default(namespaces),
        search_attributes=parse_search_attributes(search_attributes),
        db_filename=database(db_filename),
        pragmas=parse_pragmas(pragmas),
        dynamic=parse_dynamic_config(dynamic_config),
        time_skipping=time_skipping,
        log_level=options.get("log_level", "warn"),
        log_format=options.get("log_format", "text"),
        metrics_port=metrics_port,
    )
    for name, reason in _NOT_OFFERED.items():
        if others.get(name) or options.get(name):
            click.echo(f"Warning: --{name.replace('_', '-')} has no effect: {reason}", err=True)
    from perdure.cli.serve import describe, serve

    if log_config:
        click.echo(describe(config), err=True)
    status = serve(config, banner=options.get("output") != "none", compose=options.get("compose"))
    context.exit(status)


@perdure.command("doctor")
@click.option("-f", "--db-filename", required=True, help="SQLite file that a server was started with.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead, for programs.")
@global_options
@click.pass_context
def doctor(context: click.Context, /, db_filename: str, as_json: bool) -> None:
    """Examine a database file and say what is wrong with it.

    The file is only read. The server that uses it may be stopped or running: beside a running one the examination sees
    the file as it is at one moment, and the server's log keeps growing until it is over.

    Every execution is looked at: its history (whole, and leading to the stored state), its current run, timers and
    other deadlines, tasks, messages under way, children, schedules, batch jobs, and what lists show of it. Each fault
    is one line: where, what is wrong, what to do.

    \b
    Exit status:
      0  no fault found
      1  faults found
      2  the file cannot be examined (missing, no database of Perdure, other format, locked)

    \b
    Examples:
      perdure doctor --db-filename orders.db
      perdure doctor --db-filename orders.db --json | jq .faults
    """
    from perdure.cli.doctor import report

    context.exit(report(db_filename, as_json=as_json))


def main(argv: Sequence[str] | None = None, compose: Compose | None = None) -> None:
    """Run the command line and exit: 0 when it was stopped or helped, 1 with one `Error:` line otherwise.

    A number as the first argument makes it the test server: SDKs that launch one say nothing else. `compose` replaces
    the parts of the server that is started; see `perdure.server`.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and arguments[0].isdecimal():
        from perdure.cli.test_server import test_server

        run(test_server, "perdure", arguments, compose)
    run(perdure, "perdure", arguments, compose)


def run(command: click.Command, name: str, arguments: Sequence[str], compose: Compose | None = None) -> NoReturn:
    """Run `command` as the whole program."""
    arguments = _as_click_reads_them(arguments)
    try:
        status = command.main(arguments, prog_name=name, standalone_mode=False, obj={"compose": compose})
    except click.exceptions.NoArgsIsHelpError as help_wanted:
        help_wanted.show()
        status = 0
    except click.UsageError as error:
        if error.ctx is not None:
            click.echo(error.ctx.get_usage(), err=True)
        click.echo(f"Error: {error.format_message()}", err=True)
        status = 1
    except click.exceptions.Exit as ended:
        status = ended.exit_code
    except (click.ClickException, ConfigError) as error:
        click.echo(f"Error: {error}", err=True)
        status = 1
    except (click.Abort, KeyboardInterrupt):
        status = 0
    sys.exit(status)


def _as_click_reads_them(arguments: Sequence[str]) -> list[str]:
    """Two spellings that the reference's launchers may use and click does not know: `--switch=true` and `-p=7233`."""
    read: list[str] = []
    for argument in arguments:
        name, _, value = argument.removeprefix("--").partition("=")
        short = re.fullmatch(r"(-[pnfo])=(.*)", argument, re.DOTALL)
        if argument.startswith("--") and name in _SWITCHES and value.lower() in ("true", "false", "1", "0"):
            if value.lower() in ("true", "1"):
                read.append(f"--{name}")
        elif short is not None:
            read.extend(short.groups())
        else:
            read.append(argument)
    return read


def database(filename: str | None) -> str | None:
    """None for none or an empty name. Raises ConfigError when the file's directory does not exist."""
    if not filename:
        return None
    directory = Path(filename).parent
    if not directory.is_dir():
        raise ConfigError(f"directory {str(directory)!r} of --db-filename does not exist")
    return filename


if __name__ == "__main__":
    main()
