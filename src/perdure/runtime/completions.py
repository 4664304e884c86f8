"""Completions of workflow tasks: decided like any input, and answered with what goes back with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio.api.workflowservice.v1 import RespondWorkflowTaskCompletedRequest, RespondWorkflowTaskCompletedResponse

from perdure.call import PENDING, Call
from perdure.engine import completing
from perdure.engine.execution import WORKFLOW
from perdure.engine.tokens import TaskToken
from perdure.engine.turn import Turn
from perdure.runtime.inputs import Input, Outcome
from perdure.runtime.namespaces import Namespace

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

_EMPTY = RespondWorkflowTaskCompletedResponse().SerializeToString()


def complete_workflow_task(
    runtime: Runtime, namespace: Namespace, token: TaskToken, request: RespondWorkflowTaskCompletedRequest, call: Call
) -> None:
    """Decide a completion; the answer carries what goes back with it: the next task, eager activities."""
    key = (namespace.id, WORKFLOW, token.execution_id)

    def decide(turn: Turn) -> Outcome:
        completed = completing.complete_workflow_task(turn, token, request)
        if completed.failed is not None:
            return Outcome(error=completed.failed)
        run = turn.run
        plain = completed.new_task is None and not completed.eager_activities
        answer = _EMPTY
        if completed.reset_event_id:
            response = RespondWorkflowTaskCompletedResponse()
            response.reset_history_event_id = completed.reset_event_id
            answer = response.SerializeToString()
        loaded = runtime.executions.peek(key)
        results = request.query_results if loaded is not None and loaded.queries else None
        if plain and results is None:
            return Outcome(answer)

        def committed() -> None:
            if results is not None and loaded is not None:
                runtime.queries.results(loaded, run, results)
            if not plain:
                _answer(runtime, completed, call)

        return Outcome(answer if plain else PENDING, committed=committed)

    runtime.enter(Input(runtime, key, token.run_id, decide, call))


def _answer(runtime: Runtime, completed: completing.CompletedTask, call: Call) -> None:
    response = RespondWorkflowTaskCompletedResponse()
    response.reset_history_event_id = completed.reset_event_id
    for activity in completed.eager_activities:
        response.activity_tasks.add().MergeFromString(activity.answer)
    started = completed.new_task
    if started is None:
        call.finish(response)
        return
    queries = runtime.queries.ride_along((started.namespace_id, WORKFLOW, started.workflow_id), started.run)

    def ready(answer: bytes) -> None:
        response.workflow_task.MergeFromString(answer)
        call.finish(response)

    runtime.histories.workflow_task_answer(started, queries, ready)
