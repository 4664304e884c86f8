"""What fails a workflow task: a command (or message) of its completion that the server cannot take."""

from __future__ import annotations

from perdure.enums import WorkflowTaskFailedCause

_PREFIX = "WORKFLOW_TASK_FAILED_CAUSE_"


def short_cause(cause: int) -> str:
    """`BadScheduleActivityAttributes` for WORKFLOW_TASK_FAILED_CAUSE_BAD_SCHEDULE_ACTIVITY_ATTRIBUTES."""
    try:
        name = WorkflowTaskFailedCause.Name(cause)  # type: ignore[arg-type] # an int of that enum
    except ValueError:  # of a worker that is newer than we are
        return str(cause)
    return "".join(word.capitalize() for word in name.removeprefix(_PREFIX).split("_"))


class BadCommand(Exception):
    """The completion has no effect, the workflow task fails with this cause; with `terminate` the workflow ends too.

    `cause` is a number of enums.WorkflowTaskFailedCause.
    """

    def __init__(self, cause: int, detail: str = "", *, terminate: bool = False) -> None:
        self.cause = cause
        self.detail = detail
        self.terminate = terminate
        short = short_cause(cause)
        self.message = f"{short}: {detail}" if detail else short
        super().__init__(self.message)
