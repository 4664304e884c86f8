from __future__ import annotations

from temporalio import workflow
from temporalio.converter import DataConverter
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from examples.orders.domain import Mail, Order, OrderLine, OrderState, Status, StatusChange
from examples.orders.schedule import daily_report
from examples.orders.settings import STANDIN_PAYMENTS, Settings
from examples.orders.workflows import NOTIFICATIONS, DailyReportWorkflow, NotificationsWorkflow, OrderWorkflow


async def test_the_workflows_load_in_the_sandbox() -> None:
    runner = SandboxedWorkflowRunner()
    for defined in (OrderWorkflow, NotificationsWorkflow, DailyReportWorkflow):
        runner.prepare_workflow(workflow._Definition.must_from_class(defined))


def test_every_way_to_end_tells_the_customer() -> None:
    assert set(NOTIFICATIONS) == {status for status in Status if status.final}
    assert all(isinstance(kind, Mail) for kinds in NOTIFICATIONS.values() for kind in kinds)


async def test_an_order_state_crosses_the_wire_unchanged() -> None:
    order = Order("1", "a@b.example", [OrderLine("cup", 1)])
    state = OrderState(order, Status.CHARGED, 850, "pi_1", None, None, [StatusChange(Status.CHARGED, "now")])

    converter = DataConverter.default
    assert await converter.decode(await converter.encode([state]), [OrderState]) == [state]


def test_the_report_is_scheduled_for_weekdays_at_nine() -> None:
    schedule = daily_report("orders", "Europe/Berlin")

    assert schedule.spec.cron_expressions == ["0 9 * * MON-FRI"]
    assert schedule.spec.time_zone_name == "Europe/Berlin"


def test_with_a_stripe_key_payments_go_to_stripe_itself() -> None:
    assert Settings.from_environment({}).stripe_api_base == STANDIN_PAYMENTS
    assert Settings.from_environment({"STRIPE_API_KEY": "sk_test_1"}).stripe_api_base is None
    both = Settings.from_environment({"STRIPE_API_KEY": "sk_test_1", "STRIPE_API_BASE": "http://proxy"})
    assert both.stripe_api_base == "http://proxy"
