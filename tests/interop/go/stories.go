package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	batchpb "go.temporal.io/api/batch/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
)

var stories = []story{
	{"a workflow is started and its result read", "", startAndResult},
	{"an ID in use is refused, or its run is joined", "", idInUse},
	{"health, system and cluster answer", "", health},
	{"a namespace is registered, described, changed", "", namespaces},
	{"signals are taken in order, queries answered", "", signalsAndQueries},
	{"a signal starts the workflow it is for", "", signalWithStart},
	{"updates complete, fail and are rejected", "UpdateWorkflowExecution", updates},
	{"an update starts the workflow it is for", "ExecuteMultiOperation", updateWithStart},
	{"activities are retried until one cannot be", "", retries},
	{"a retried activity finds its last heartbeat", "", heartbeats},
	{"a running activity is cancelled", "", activityCancelled},
	{"activities are completed by token and by ID", "", asynchronous},
	{"a local activity is retried", "", localActivity},
	{"a timer fires, another is cancelled", "", timers},
	{"children are signalled, fail, are left behind", "", children},
	{"workflows signal and cancel each other", "", neighbours},
	{"a workflow continues as new", "", continueAsNew},
	{"a workflow is cancelled and tidies up", "", cancelled},
	{"a workflow is terminated", "", terminated},
	{"a workflow is retried, and times out", "", workflowRetries},
	{"search attributes and memo are found by list and count", "", visibility},
	{"a history is followed, and replays", "", history},
	{"side effects and versions are recorded", "", sideEffects},
	{"activities run in a session", "", sessions},
	{"the first task comes with the start", "", eagerStart},
	{"a task queue shows its pollers", "", taskQueue},
	{"a run is reset to its first task", "ResetWorkflowExecution", reset},
	{"a batch terminates what a query finds", "StartBatchOperation DescribeBatchOperation", batch},
	{"a schedule is made, triggered, paused, changed, deleted", "CreateSchedule PatchSchedule UpdateSchedule", schedules},
	{"an activity runs without a workflow", "StartActivityExecution PollActivityExecution", standaloneActivity},
	{"a workflow's versioning is overridden", "UpdateWorkflowExecutionOptions", versioningOverride},
	{"a month passes in no time", "", skippingTime},
}

func startAndResult(ctx context.Context, world *World) error {
	run, err := world.start(ctx, Greet, "Ann")
	if err != nil {
		return err
	}
	var greeting string
	if err := run.Get(ctx, &greeting); err != nil {
		return err
	}
	described, err := world.DescribeWorkflow(ctx, run.GetID(), run.GetRunID())
	if err != nil {
		return err
	}
	return errors.Join(
		want("result", greeting, "Hello, Ann"),
		want("status", described.Status, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED),
		want("type", described.WorkflowType.Name, "Greet"),
	)
}

func idInUse(ctx context.Context, world *World) error {
	options := world.options()
	options.WorkflowExecutionErrorWhenAlreadyStarted = true
	first, err := world.ExecuteWorkflow(ctx, options, Basket)
	if err != nil {
		return err
	}
	_, refused := world.ExecuteWorkflow(ctx, options, Basket)
	options.WorkflowIDConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
	second, err := world.ExecuteWorkflow(ctx, options, Basket)
	if err != nil {
		return err
	}
	return errors.Join(
		wantError[*serviceerror.WorkflowExecutionAlreadyStarted](refused),
		want("run", second.GetRunID(), first.GetRunID()),
		world.TerminateWorkflow(ctx, options.ID, "", "done"),
	)
}

func health(ctx context.Context, world *World) error {
	if _, err := world.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return err
	}
	if _, err := world.WorkflowService().GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{}); err != nil {
		return err
	}
	_, err := world.WorkflowService().GetClusterInfo(ctx, &workflowservice.GetClusterInfoRequest{})
	return err
}

func namespaces(ctx context.Context, world *World) error {
	name := unique("go")
	service := world.WorkflowService()
	_, err := service.RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: name, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	if err != nil {
		return err
	}
	described, err := service.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: name})
	if err != nil {
		return err
	}
	_, missing := service.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: name + "x"})
	return errors.Join(
		want("retention", described.Config.WorkflowExecutionRetentionTtl.AsDuration(), 24*time.Hour),
		wantError[*serviceerror.NamespaceNotFound](missing),
	)
}

func signalsAndQueries(ctx context.Context, world *World) error {
	run, err := world.start(ctx, Basket)
	if err != nil {
		return err
	}
	for _, item := range []string{"apple", "bread", "cheese"} {
		if err := world.SignalWorkflow(ctx, run.GetID(), "", "add", item); err != nil {
			return err
		}
	}
	asked, err := world.query(ctx, run, "items")
	if err != nil {
		return err
	}
	_, unknown := world.QueryWorkflow(ctx, run.GetID(), "", "price")
	if err := world.SignalWorkflow(ctx, run.GetID(), "", "close", nil); err != nil {
		return err
	}
	var items string
	if err := run.Get(ctx, &items); err != nil {
		return err
	}
	closed, err := world.query(ctx, run, "items")
	if err != nil {
		return err
	}
	rejected, err := world.QueryWorkflowWithOptions(ctx, &client.QueryWorkflowWithOptionsRequest{
		WorkflowID: run.GetID(), QueryType: "items", QueryRejectCondition: enumspb.QUERY_REJECT_CONDITION_NOT_OPEN,
	})
	if err != nil {
		return err
	}
	late := world.SignalWorkflow(ctx, run.GetID(), "", "add", "late")
	return errors.Join(
		want("query", asked, "apple,bread,cheese"),
		want("result", items, asked),
		want("query when closed", closed, asked),
		want("rejected", rejected.QueryRejected.GetStatus(), enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED),
		wantError[*serviceerror.QueryFailed](unknown),
		wantError[*serviceerror.NotFound](late),
	)
}

func signalWithStart(ctx context.Context, world *World) error {
	options := world.options()
	for _, item := range []string{"apple", "bread"} {
		if _, err := world.SignalWithStartWorkflow(ctx, options.ID, "add", item, options, Basket); err != nil {
			return err
		}
	}
	run := world.GetWorkflow(ctx, options.ID, "")
	if err := world.SignalWorkflow(ctx, options.ID, "", "close", nil); err != nil {
		return err
	}
	var items string
	if err := run.Get(ctx, &items); err != nil {
		return err
	}
	return want("result", items, "apple,bread")
}

func (world *World) add(ctx context.Context, workflowID string, by int) (int, error) {
	handle, err := world.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: workflowID, UpdateName: "add", Args: []any{by}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err != nil {
		return 0, err
	}
	var total int
	return total, handle.Get(ctx, &total)
}

func updates(ctx context.Context, world *World) error {
	run, err := world.start(ctx, Counter)
	if err != nil {
		return err
	}
	total, err := world.add(ctx, run.GetID(), 5)
	if err != nil {
		return err
	}
	_, rejected := world.add(ctx, run.GetID(), -1)
	_, failed := world.add(ctx, run.GetID(), 100)
	accepted, err := world.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: run.GetID(), UpdateID: "second", UpdateName: "add", Args: []any{2},
		WaitForStage: client.WorkflowUpdateStageAccepted,
	})
	if err != nil {
		return err
	}
	var later, again int
	if err := accepted.Get(ctx, &later); err != nil {
		return err
	}
	handle := world.GetWorkflowUpdateHandle(client.GetWorkflowUpdateHandleOptions{
		WorkflowID: run.GetID(), UpdateID: "second",
	})
	if err := handle.Get(ctx, &again); err != nil {
		return err
	}
	if err := world.SignalWorkflow(ctx, run.GetID(), "", "close", nil); err != nil {
		return err
	}
	var last int
	if err := run.Get(ctx, &last); err != nil {
		return err
	}
	return errors.Join(
		want("first", total, 5), want("second", later, 7), want("asked again", again, 7), want("result", last, 7),
		wantError[*temporal.ApplicationError](rejected), wantError[*temporal.ApplicationError](failed),
	)
}

func updateWithStart(ctx context.Context, world *World) error {
	options := world.options()
	options.WorkflowIDConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
	totals := []int{}
	for range 2 {
		handle, err := world.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
			StartWorkflowOperation: world.NewWithStartWorkflowOperation(options, Counter),
			UpdateOptions: client.UpdateWorkflowOptions{
				UpdateName: "add", Args: []any{3}, WaitForStage: client.WorkflowUpdateStageCompleted,
			},
		})
		if err != nil {
			return err
		}
		var total int
		if err := handle.Get(ctx, &total); err != nil {
			return err
		}
		totals = append(totals, total)
	}
	return errors.Join(
		want("totals", totals, []int{3, 6}), world.SignalWorkflow(ctx, options.ID, "", "close", nil),
	)
}

func retries(ctx context.Context, world *World) error {
	told, err := result[string](ctx, world, Retrying)
	return errors.Join(err, want("attempt and failure", told, "3 Hopeless true"))
}

func heartbeats(ctx context.Context, world *World) error {
	found, err := result[int](ctx, world, Heartbeating)
	return errors.Join(err, want("details", found, 42))
}

func activityCancelled(ctx context.Context, world *World) error {
	told, err := result[string](ctx, world, CancelsActivity)
	return errors.Join(err, want("cancelled", told, "true"))
}

func asynchronous(ctx context.Context, world *World) error {
	run, err := world.start(ctx, Asynchronous)
	if err != nil {
		return err
	}
	err = until(ctx, "the activity's start", func() (bool, error) {
		described, err := world.DescribeWorkflowExecution(ctx, run.GetID(), "")
		if err != nil {
			return false, err
		}
		pending := described.PendingActivities
		return len(pending) == 1 && pending[0].State == enumspb.PENDING_ACTIVITY_STATE_STARTED, nil
	})
	if err != nil {
		return err
	}
	if err := world.RecordActivityHeartbeatByID(ctx, "default", run.GetID(), "", "later", "half"); err != nil {
		return err
	}
	if err := world.CompleteActivityByID(ctx, "default", run.GetID(), "", "later", "done", nil); err != nil {
		return err
	}
	var told string
	if err := run.Get(ctx, &told); err != nil {
		return err
	}
	again := world.CompleteActivityByID(ctx, "default", run.GetID(), "", "later", "again", nil)
	return errors.Join(want("result", told, "done"), wantError[*serviceerror.NotFound](again))
}

func localActivity(ctx context.Context, world *World) error {
	attempt, err := result[int](ctx, world, Local)
	return errors.Join(err, want("attempt", attempt, 2))
}

func timers(ctx context.Context, world *World) error {
	told, err := result[string](ctx, world, Timers)
	return errors.Join(err, want("slept, cancelled", told, "true true"))
}

func children(ctx context.Context, world *World) error {
	told, err := result[string](ctx, world, Parent)
	if err != nil {
		return err
	}
	answer, left, _ := strings.Cut(told, "|")
	if err := world.SignalWorkflow(ctx, left, "", "name", "Bob"); err != nil {
		return err
	}
	var behind string
	if err := world.GetWorkflow(ctx, left, "").Get(ctx, &behind); err != nil {
		return err
	}
	return errors.Join(want("child", answer, "Hello, Ann"), want("child left behind", behind, "Hello, Bob"))
}

func neighbours(ctx context.Context, world *World) error {
	basket, err := world.start(ctx, Basket)
	if err != nil {
		return err
	}
	forever, err := world.start(ctx, Forever)
	if err != nil {
		return err
	}
	told, err := result[string](ctx, world, Neighbour, basket.GetID(), forever.GetID())
	if err != nil {
		return err
	}
	cancelled := forever.Get(ctx, nil)
	items, err := world.query(ctx, basket, "items")
	return errors.Join(
		err, want("unknown workflow", told, "true"), want("signal", items, "pear"),
		wantError[*temporal.CanceledError](cancelled), world.TerminateWorkflow(ctx, basket.GetID(), "", "done"),
	)
}

func continueAsNew(ctx context.Context, world *World) error {
	told, err := result[string](ctx, world, Countdown, 3)
	return errors.Join(err, want("is a continued run, and not the first", told, "true true"))
}

func cancelled(ctx context.Context, world *World) error {
	run, err := world.start(ctx, Forever)
	if err != nil {
		return err
	}
	if err := world.CancelWorkflow(ctx, run.GetID(), ""); err != nil {
		return err
	}
	ended := run.Get(ctx, nil)
	described, err := world.DescribeWorkflow(ctx, run.GetID(), "")
	if err != nil {
		return err
	}
	return errors.Join(
		wantError[*temporal.CanceledError](ended),
		want("status", described.Status, enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED),
	)
}

func terminated(ctx context.Context, world *World) error {
	run, err := world.start(ctx, Forever)
	if err != nil {
		return err
	}
	if err := world.TerminateWorkflow(ctx, run.GetID(), "", "enough", "details"); err != nil {
		return err
	}
	return wantError[*temporal.TerminatedError](run.Get(ctx, nil))
}

func workflowRetries(ctx context.Context, world *World) error {
	options := world.options()
	options.RetryPolicy = &temporal.RetryPolicy{InitialInterval: 10 * time.Millisecond}
	run, err := world.ExecuteWorkflow(ctx, options, Fails)
	if err != nil {
		return err
	}
	var attempt int
	if err := run.Get(ctx, &attempt); err != nil {
		return err
	}
	hurried := world.options()
	hurried.WorkflowRunTimeout = time.Second
	slow, err := world.ExecuteWorkflow(ctx, hurried, Forever)
	if err != nil {
		return err
	}
	return errors.Join(want("attempt", attempt, 3), wantError[*temporal.TimeoutError](slow.Get(ctx, nil)))
}

func visibility(ctx context.Context, world *World) error {
	customer := unique("customer")
	options := world.options()
	options.TypedSearchAttributes = temporal.NewSearchAttributes(customerID.ValueSet(customer))
	options.Memo = map[string]any{"note": "new"}
	run, err := world.ExecuteWorkflow(ctx, options, Tagged)
	if err != nil {
		return err
	}
	query := fmt.Sprintf("CustomerId = '%s' AND Amount = 7 AND ExecutionStatus = 'Running'", customer)
	var found *workflowservice.ListWorkflowExecutionsResponse
	err = until(ctx, "the upserted attribute", func() (bool, error) {
		found, err = world.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: query})
		return err == nil && len(found.Executions) == 1, err
	})
	if err != nil {
		return err
	}
	counted, err := world.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
		Query: fmt.Sprintf("CustomerId = '%s' GROUP BY ExecutionStatus", customer),
	})
	if err != nil {
		return err
	}
	described, err := world.DescribeWorkflow(ctx, run.GetID(), "")
	if err != nil {
		return err
	}
	tagged, _ := described.TypedSearchAttributes.GetInt64(amount)
	return errors.Join(
		want("listed", found.Executions[0].Execution.WorkflowId, run.GetID()),
		want("counted", counted.Count, 1), want("groups", len(counted.Groups), 1),
		want("attribute", tagged, 7),
		want("memo", string(described.Memo.GetFields()["note"].GetData()), `"gift"`),
		world.SignalWorkflow(ctx, run.GetID(), "", "close", nil),
	)
}

func history(ctx context.Context, world *World) error {
	run, err := world.start(ctx, Versioned)
	if err != nil {
		return err
	}
	var recorded historypb.History
	following := world.GetWorkflowHistory(ctx, run.GetID(), run.GetRunID(), true, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for following.HasNext() {
		event, err := following.Next()
		if err != nil {
			return err
		}
		recorded.Events = append(recorded.Events, event)
	}
	replayer := worker.NewWorkflowReplayer()
	replayer.RegisterWorkflow(Versioned)
	if err := replayer.ReplayWorkflowHistory(nil, &recorded); err != nil {
		return err
	}
	closing := world.GetWorkflowHistory(ctx, run.GetID(), "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
	last, err := closing.Next()
	if err != nil {
		return err
	}
	reversed, err := world.WorkflowService().GetWorkflowExecutionHistoryReverse(ctx,
		&workflowservice.GetWorkflowExecutionHistoryReverseRequest{
			Namespace: "default", Execution: &commonpb.WorkflowExecution{WorkflowId: run.GetID()},
		})
	if err != nil {
		return err
	}
	return errors.Join(
		want("close event", last.EventType, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED),
		want("events", int(last.EventId), len(recorded.Events)),
		want("reversed", reversed.History.Events[0].EventId, last.EventId),
	)
}

func sideEffects(ctx context.Context, world *World) error {
	told, err := result[string](ctx, world, Versioned)
	return errors.Join(err, want("side effect, mutable, version", told, "41 5 2"))
}

func sessions(ctx context.Context, world *World) error {
	same, err := result[bool](ctx, world, InSession)
	return errors.Join(err, want("same worker", same, true))
}

func eagerStart(ctx context.Context, world *World) error {
	options := world.options()
	options.EnableEagerStart = true
	run, err := world.ExecuteWorkflow(ctx, options, Greet, "Eve")
	if err != nil {
		return err
	}
	var greeting string
	err = run.Get(ctx, &greeting)
	return errors.Join(err, want("result", greeting, "Hello, Eve"))
}

func taskQueue(ctx context.Context, world *World) error {
	return until(ctx, "the worker's polls", func() (bool, error) {
		workflows, err := world.DescribeTaskQueue(ctx, world.queue, enumspb.TASK_QUEUE_TYPE_WORKFLOW)
		if err != nil {
			return false, err
		}
		enhanced, err := world.DescribeTaskQueueEnhanced(ctx, client.DescribeTaskQueueEnhancedOptions{
			TaskQueue: world.queue, ReportPollers: true, ReportStats: true,
			TaskQueueTypes: []client.TaskQueueType{client.TaskQueueTypeWorkflow, client.TaskQueueTypeActivity},
		})
		if err != nil {
			return false, err
		}
		return len(workflows.Pollers) > 0 && len(enhanced.VersionsInfo) > 0, nil
	})
}

func reset(ctx context.Context, world *World) error {
	run, err := world.start(ctx, Step)
	if err != nil {
		return err
	}
	if err := world.SignalWorkflow(ctx, run.GetID(), "", "add", "milk"); err != nil {
		return err
	}
	if err := run.Get(ctx, nil); err != nil {
		return err
	}
	answer, err := world.ResetWorkflowExecution(ctx, &workflowservice.ResetWorkflowExecutionRequest{
		Namespace:                 "default",
		WorkflowExecution:         &commonpb.WorkflowExecution{WorkflowId: run.GetID(), RunId: run.GetRunID()},
		Reason:                    "again",
		WorkflowTaskFinishEventId: 4,
		RequestId:                 uuid.NewString(),
	})
	if err != nil {
		return err
	}
	var told string
	if err := world.GetWorkflow(ctx, run.GetID(), answer.RunId).Get(ctx, &told); err != nil {
		return err
	}
	return want("result of the new run", told, "Hello, reset milk")
}

func batch(ctx context.Context, world *World) error {
	customer := unique("customer")
	options := world.options()
	options.TypedSearchAttributes = temporal.NewSearchAttributes(customerID.ValueSet(customer))
	run, err := world.ExecuteWorkflow(ctx, options, Forever)
	if err != nil {
		return err
	}
	job := uuid.NewString()
	service := world.WorkflowService()
	_, err = service.StartBatchOperation(ctx, &workflowservice.StartBatchOperationRequest{
		Namespace: "default", JobId: job, Reason: "enough", VisibilityQuery: fmt.Sprintf("CustomerId = '%s'", customer),
		Operation: &workflowservice.StartBatchOperationRequest_TerminationOperation{
			TerminationOperation: &batchpb.BatchOperationTermination{},
		},
	})
	if err != nil {
		return err
	}
	ended := run.Get(ctx, nil)
	err = until(ctx, "the end of the batch", func() (bool, error) {
		described, err := service.DescribeBatchOperation(ctx, &workflowservice.DescribeBatchOperationRequest{
			Namespace: "default", JobId: job,
		})
		return err == nil && described.State == enumspb.BATCH_OPERATION_STATE_COMPLETED, err
	})
	return errors.Join(err, wantError[*temporal.TerminatedError](ended))
}

func schedules(ctx context.Context, world *World) error {
	id := unique("schedule")
	handle, err := world.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:   id,
		Spec: client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Hour}}},
		Action: &client.ScheduleWorkflowAction{
			ID: unique("scheduled"), Workflow: Greet, Args: []any{"Sam"}, TaskQueue: world.queue,
		},
		Note: "hourly",
	})
	if err != nil {
		return err
	}
	if err := handle.Trigger(ctx, client.ScheduleTriggerOptions{}); err != nil {
		return err
	}
	var ran client.ScheduleActionResult
	err = until(ctx, "the triggered run", func() (bool, error) {
		described, err := handle.Describe(ctx)
		if err != nil || len(described.Info.RecentActions) == 0 {
			return false, err
		}
		ran = described.Info.RecentActions[0]
		return true, nil
	})
	if err != nil {
		return err
	}
	var greeting string
	triggered := ran.StartWorkflowResult
	if err := world.GetWorkflow(ctx, triggered.WorkflowID, triggered.FirstExecutionRunID).Get(ctx, &greeting); err != nil {
		return err
	}
	if err := handle.Pause(ctx, client.SchedulePauseOptions{Note: "holiday"}); err != nil {
		return err
	}
	err = handle.Update(ctx, client.ScheduleUpdateOptions{
		DoUpdate: func(input client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			changed := input.Description.Schedule
			changed.Spec.Intervals[0].Every = 2 * time.Hour
			return &client.ScheduleUpdate{Schedule: &changed}, nil
		},
	})
	if err != nil {
		return err
	}
	described, err := handle.Describe(ctx)
	if err != nil {
		return err
	}
	listed, err := world.ScheduleClient().List(ctx, client.ScheduleListOptions{PageSize: 100})
	if err != nil {
		return err
	}
	found := false
	for listed.HasNext() {
		entry, err := listed.Next()
		if err != nil {
			return err
		}
		found = found || entry.ID == id
	}
	if err := handle.Unpause(ctx, client.ScheduleUnpauseOptions{}); err != nil {
		return err
	}
	if err := handle.Delete(ctx); err != nil {
		return err
	}
	_, gone := handle.Describe(ctx)
	return errors.Join(
		want("result", greeting, "Hello, Sam"), want("listed", found, true),
		want("paused", described.Schedule.State.Paused, true), want("note", described.Schedule.State.Note, "holiday"),
		want("interval", described.Schedule.Spec.Intervals[0].Every, 2*time.Hour),
		wantError[*serviceerror.NotFound](gone),
	)
}

func standaloneActivity(ctx context.Context, world *World) error {
	handle, err := world.ExecuteActivity(ctx, client.StartActivityOptions{
		ID: unique("alone"), TaskQueue: world.queue, StartToCloseTimeout: 10 * time.Second,
	}, Hello, "Zoe")
	if err != nil {
		return err
	}
	var greeting string
	if err := handle.Get(ctx, &greeting); err != nil {
		return err
	}
	described, err := handle.Describe(ctx, client.DescribeActivityOptions{})
	if err != nil {
		return err
	}
	return errors.Join(
		want("result", greeting, "Hello, Zoe"),
		want("status", described.Status, enumspb.ACTIVITY_EXECUTION_STATUS_COMPLETED),
	)
}

func versioningOverride(ctx context.Context, world *World) error {
	run, err := world.start(ctx, Basket)
	if err != nil {
		return err
	}
	_, err = world.UpdateWorkflowExecutionOptions(ctx, client.UpdateWorkflowExecutionOptionsRequest{
		WorkflowId: run.GetID(), RunId: run.GetRunID(),
		WorkflowExecutionOptionsChanges: client.WorkflowExecutionOptionsChanges{
			VersioningOverride: &client.VersioningOverrideChange{Value: &client.AutoUpgradeVersioningOverride{}},
		},
	})
	return errors.Join(err, world.TerminateWorkflow(ctx, run.GetID(), "", "done"))
}

func skippingTime(ctx context.Context, there *World) error {
	world := &World{queue: unique("go")}
	connection, err := client.Dial(client.Options{HostPort: there.skipping, Logger: quiet()})
	if err != nil {
		return err
	}
	defer connection.Close()
	world.Client = connection
	work := worker.New(connection, world.queue, worker.Options{})
	register(work)
	if err := work.Start(); err != nil {
		return err
	}
	defer work.Stop()

	options := world.options()
	options.WorkflowExecutionTimeout = 0
	run, err := world.ExecuteWorkflow(ctx, options, Sleeper, 30*24*time.Hour)
	if err != nil {
		return err
	}
	wire, err := grpc.NewClient(there.skipping, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer wire.Close()
	if err := testService(ctx, wire, "UnlockTimeSkipping"); err != nil {
		return err
	}
	return errors.Join(run.Get(ctx, nil), testService(ctx, wire, "LockTimeSkipping"))
}

// testService calls an RPC whose messages are empty. Go's API module has no test service.
func testService(ctx context.Context, wire *grpc.ClientConn, rpc string) error {
	return wire.Invoke(ctx, "/temporal.api.testservice.v1.TestService/"+rpc, &emptypb.Empty{}, &emptypb.Empty{})
}
