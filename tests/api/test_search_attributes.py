from __future__ import annotations

import pytest
import temporalio.api.operatorservice.v1 as op
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.common.v1 import SearchAttributes
from temporalio.api.enums.v1 import IndexedValueType

from tests.api.client import Api, Refused, execution, values

KEYWORD = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
INT = IndexedValueType.INDEXED_VALUE_TYPE_INT


async def add(api: Api, **types: IndexedValueType.ValueType) -> None:
    await api.AddSearchAttributes(op.AddSearchAttributesRequest(namespace="default", search_attributes=types))


async def custom(api: Api) -> dict[str, int]:
    found = await api.ListSearchAttributes(op.ListSearchAttributesRequest(namespace="default"))
    return dict(found.custom_attributes)


async def test_an_added_attribute_can_be_set_and_listed_at_once(api: Api) -> None:
    await add(api, Customer=KEYWORD)

    attributes = SearchAttributes()
    attributes.indexed_fields["Customer"].CopyFrom(values("ann").payloads[0])
    await api.start(search_attributes=attributes)

    assert (await custom(api))["Customer"] == KEYWORD


async def test_adding_again_changes_nothing(api: Api) -> None:
    await add(api, Customer=KEYWORD)
    await add(api, Customer=INT)

    assert (await custom(api))["Customer"] == KEYWORD


async def test_a_removed_attribute_cannot_be_set_any_more(api: Api) -> None:
    await add(api, Customer=KEYWORD)
    await api.RemoveSearchAttributes(
        op.RemoveSearchAttributesRequest(namespace="default", search_attributes=["Customer", "NeverThere"])
    )
    attributes = SearchAttributes()
    attributes.indexed_fields["Customer"].CopyFrom(values("ann").payloads[0])

    with pytest.raises(Refused) as refused:
        await api.start(search_attributes=attributes)

    assert refused.value.message == "Namespace default has no mapping defined for search attribute Customer"
    assert "Customer" not in await custom(api)


async def test_system_attributes_are_listed_with_predefined_ones(api: Api) -> None:
    found = await api.ListSearchAttributes(op.ListSearchAttributesRequest(namespace="default"))

    assert found.system_attributes["WorkflowId"] == KEYWORD
    assert found.system_attributes["BuildIds"] == IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST


async def test_the_older_list_has_everything_in_one_map(api: Api) -> None:
    await add(api, Customer=KEYWORD)

    keys = (await api.GetSearchAttributes(ws.GetSearchAttributesRequest())).keys

    assert (keys["Customer"], keys["CustomInt"], keys["WorkflowId"]) == (KEYWORD, INT, KEYWORD)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (op.AddSearchAttributesRequest(namespace="default"), "SearchAttributes are not set on request."),
        (
            op.AddSearchAttributesRequest(namespace="default", search_attributes={"RunId": KEYWORD}),
            "Search attribute RunId is reserved by system.",
        ),
        (
            op.AddSearchAttributesRequest(namespace="default", search_attributes={"TemporalMine": KEYWORD}),
            "Search attribute TemporalMine is reserved by system.",
        ),
        (
            op.AddSearchAttributesRequest(namespace="default", search_attributes={"Mine": 0}),
            "Unknown search attribute type: 0.",
        ),
        (op.AddSearchAttributesRequest(search_attributes={"Mine": KEYWORD}), "Namespace is not set on request."),
    ],
)
async def test_what_cannot_be_added_is_refused(api: Api, request_: op.AddSearchAttributesRequest, message: str) -> None:
    with pytest.raises(Refused) as refused:
        await api.AddSearchAttributes(request_)

    assert (refused.value.code, refused.value.message) == ("INVALID_ARGUMENT", message)


async def test_system_attributes_cannot_be_removed(api: Api) -> None:
    with pytest.raises(Refused) as refused:
        await api.RemoveSearchAttributes(
            op.RemoveSearchAttributesRequest(namespace="default", search_attributes=["StartTime"])
        )

    assert refused.value.message == "Unable to remove non-custom search attributes: StartTime."


async def test_there_are_as_many_attributes_of_a_type_as_wanted(api: Api) -> None:
    many = {f"Flag{number}": IndexedValueType.INDEXED_VALUE_TYPE_BOOL for number in range(30)}

    await add(api, **many)

    assert many.items() <= (await custom(api)).items()


@pytest.mark.parametrize("bad", [{"Mine": KEYWORD, "RunId": KEYWORD}, {"Mine": KEYWORD, "Other": 0}])
async def test_a_refused_addition_adds_none_of_its_attributes(api: Api, bad: dict[str, int]) -> None:
    before = await custom(api)

    with pytest.raises(Refused):
        await api.AddSearchAttributes(op.AddSearchAttributesRequest(namespace="default", search_attributes=bad))

    assert await custom(api) == before


async def test_a_refused_removal_removes_none_of_its_attributes(api: Api) -> None:
    before = await custom(api)

    with pytest.raises(Refused):
        await api.RemoveSearchAttributes(
            op.RemoveSearchAttributesRequest(namespace="default", search_attributes=["CustomInt", "StartTime"])
        )

    assert await custom(api) == before


async def test_values_of_a_removed_attribute_are_shown_no_more_and_cannot_be_asked_for(api: Api) -> None:
    await add(api, Customer=KEYWORD)
    attributes = SearchAttributes()
    attributes.indexed_fields["Customer"].CopyFrom(values("ann").payloads[0])
    await api.start(search_attributes=attributes)
    await api.RemoveSearchAttributes(
        op.RemoveSearchAttributesRequest(namespace="default", search_attributes=["Customer"])
    )

    (info,) = (await api.ListWorkflowExecutions(ws.ListWorkflowExecutionsRequest(namespace="default"))).executions
    with pytest.raises(Refused) as refused:
        await api.ListWorkflowExecutions(
            ws.ListWorkflowExecutionsRequest(namespace="default", query="Customer = 'ann'")
        )

    assert not info.search_attributes.indexed_fields
    assert "column name 'Customer' is not a valid search attribute" in refused.value.message


async def described(api: Api) -> SearchAttributes:
    request = ws.DescribeWorkflowExecutionRequest(namespace="default", execution=execution("order-1"))
    return (await api.DescribeWorkflowExecution(request)).workflow_execution_info.search_attributes


async def test_values_of_another_type_do_not_come_back_with_the_name(api: Api) -> None:
    await add(api, Customer=KEYWORD)
    attributes = SearchAttributes()
    attributes.indexed_fields["Customer"].CopyFrom(values("ann").payloads[0])
    await api.start(search_attributes=attributes)
    assert dict((await described(api)).indexed_fields)

    await api.RemoveSearchAttributes(
        op.RemoveSearchAttributesRequest(namespace="default", search_attributes=["Customer"])
    )
    await add(api, Customer=INT)

    (info,) = (await api.ListWorkflowExecutions(ws.ListWorkflowExecutionsRequest(namespace="default"))).executions
    assert not info.search_attributes.indexed_fields
    assert not (await described(api)).indexed_fields
