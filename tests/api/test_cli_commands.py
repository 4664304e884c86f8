"""Each command of `temporal`, the command line client, finds the RPCs it calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import ModuleType

import grpc.aio
import pytest

from perdure import Server
from tests.api import cli_activities, cli_operations, cli_workflows
from tests.api.cli import STORIES, Cli
from tools import compatibility

NOT_TOLD = {
    "worker deployment list, describe, create, delete": "worker deployments are not served",
    "worker deployment describe-version, create-version, delete-version": "worker deployments are not served",
    "worker deployment set-current-version, set-ramping-version": "worker deployments are not served",
    "worker deployment update-version-metadata, update-version-compute-config": "worker deployments are not served",
    "worker deployment manager-identity set, unset": "worker deployments are not served",
    "operator nexus endpoint create, get, list, update, delete": "Nexus is not served",
    "operator cluster upsert, remove": "one server has no remote clusters",
    "workflow list --archived": "nothing is archived: refused",
    "workflow fix-history-json, config, env": "touch local files alone",
    "server start-dev": "replaced by this server: tests/cli",
}
"""Commands without a story, and why."""

SWITCHED_ON = {"frontend.WorkflowPauseEnabled": True}

FAMILIES = (cli_workflows, cli_activities, cli_operations)


def served() -> frozenset[str]:
    """The RPCs that have a handler, also one that refuses."""
    rpcs = {rpc: there for service in compatibility.SERVICES for rpc, there in compatibility.rpcs(service)}
    return frozenset(rpc for rpc, there in rpcs.items() if there or compatibility.refused(rpc))


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    async with (
        Server(search_attributes={"CustomKeyword": "Keyword"}, dynamic_config=SWITCHED_ON) as server,
        grpc.aio.insecure_channel(server.address, compression=grpc.Compression.Gzip) as channel,
    ):
        yield channel


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__.rpartition("_")[2])
async def test_each_command_finds_its_rpcs(channel: grpc.aio.Channel, family: ModuleType) -> None:
    failures = {}
    there = served()
    for name, (rpcs, story) in STORIES.items():
        if story.__module__ == family.__name__ and rpcs <= there:
            cli = Cli(channel)
            try:
                await story(cli)
                assert cli.called == rpcs
            except Exception as error:
                failures[name] = error

    assert failures == {}


def test_a_command_without_its_rpcs_is_one_of_what_is_on_its_way() -> None:
    missing = set().union(*(rpcs for rpcs, _ in STORIES.values())) - served()

    assert {rpc: compatibility.why_not(rpc) for rpc in missing} == dict.fromkeys(missing, compatibility.ON_ITS_WAY)
