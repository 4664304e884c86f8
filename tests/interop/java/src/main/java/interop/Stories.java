package interop;

import static interop.Main.unique;
import static interop.Main.until;
import static interop.Main.want;
import static interop.Main.wantCode;
import static interop.Main.wantFailure;

import com.google.protobuf.Empty;
import com.google.protobuf.util.Durations;
import interop.Main.Story;
import interop.Main.World;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import io.temporal.api.batch.v1.BatchOperationTermination;
import io.temporal.api.common.v1.WorkflowExecution;
import io.temporal.api.enums.v1.ActivityExecutionStatus;
import io.temporal.api.enums.v1.BatchOperationState;
import io.temporal.api.enums.v1.EventType;
import io.temporal.api.enums.v1.PendingActivityState;
import io.temporal.api.enums.v1.TaskQueueType;
import io.temporal.api.enums.v1.WorkflowExecutionStatus;
import io.temporal.api.enums.v1.WorkflowIdConflictPolicy;
import io.temporal.api.history.v1.HistoryEvent;
import io.temporal.api.taskqueue.v1.TaskQueue;
import io.temporal.api.workflowservice.v1.DescribeBatchOperationRequest;
import io.temporal.api.workflowservice.v1.DescribeNamespaceRequest;
import io.temporal.api.workflowservice.v1.DescribeTaskQueueRequest;
import io.temporal.api.workflowservice.v1.GetClusterInfoRequest;
import io.temporal.api.workflowservice.v1.RegisterNamespaceRequest;
import io.temporal.api.workflowservice.v1.ResetWorkflowExecutionRequest;
import io.temporal.api.workflowservice.v1.StartBatchOperationRequest;
import io.temporal.client.ActivityClient;
import io.temporal.client.ActivityCompletionClient;
import io.temporal.client.ActivityCompletionException;
import io.temporal.client.ActivityHandle;
import io.temporal.client.StartActivityOptions;
import io.temporal.client.UpdateOptions;
import io.temporal.client.WorkflowExecutionAlreadyStarted;
import io.temporal.client.WorkflowNotFoundException;
import io.temporal.client.WorkflowOptions;
import io.temporal.client.WorkflowQueryException;
import io.temporal.client.WorkflowStub;
import io.temporal.client.WorkflowUpdateException;
import io.temporal.client.WorkflowUpdateHandle;
import io.temporal.client.WorkflowUpdateStage;
import io.temporal.client.schedules.Schedule;
import io.temporal.client.schedules.ScheduleActionExecutionStartWorkflow;
import io.temporal.client.schedules.ScheduleActionResult;
import io.temporal.client.schedules.ScheduleActionStartWorkflow;
import io.temporal.client.schedules.ScheduleClient;
import io.temporal.client.schedules.ScheduleException;
import io.temporal.client.schedules.ScheduleHandle;
import io.temporal.client.schedules.ScheduleIntervalSpec;
import io.temporal.client.schedules.ScheduleOptions;
import io.temporal.client.schedules.ScheduleSpec;
import io.temporal.client.schedules.ScheduleUpdate;
import io.temporal.common.RetryOptions;
import io.temporal.common.SearchAttributes;
import io.temporal.failure.CanceledFailure;
import io.temporal.failure.TerminatedFailure;
import io.temporal.failure.TimeoutFailure;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/** What users do, a story for each feature. */
final class Stories {
  static final List<Story> ALL =
      List.of(
          new Story("a workflow is started and its result read", "", Stories::startAndResult),
          new Story("an ID in use is refused, or its run is joined", "", Stories::idInUse),
          new Story("health and cluster answer", "", Stories::health),
          new Story("a namespace is registered and described", "", Stories::namespaces),
          new Story("signals are taken in order, queries answered", "", Stories::signalsAndQueries),
          new Story("a signal starts the workflow it is for", "", Stories::signalWithStart),
          new Story("updates complete, fail and are rejected", "UpdateWorkflowExecution", Stories::updates),
          new Story("an update starts the workflow it is for", "ExecuteMultiOperation", Stories::updateWithStart),
          new Story("activities are retried until one cannot be", "", Stories::retries),
          new Story("a retried activity finds its last heartbeat", "", Stories::heartbeats),
          new Story("a running activity is cancelled", "", Stories::activityCancelled),
          new Story("an activity is completed by ID", "", Stories::asynchronous),
          new Story("a local activity is retried", "", Stories::localActivity),
          new Story("a timer fires, another is cancelled", "", Stories::timers),
          new Story("children are signalled, fail, are left behind", "", Stories::children),
          new Story("workflows signal and cancel each other", "", Stories::neighbours),
          new Story("a workflow continues as new", "", Stories::continueAsNew),
          new Story("a workflow is cancelled and tidies up", "", Stories::cancelled),
          new Story("a workflow is terminated", "", Stories::terminated),
          new Story("a workflow is retried, and times out", "", Stories::workflowRetries),
          new Story("search attributes and memo are found by list and count", "", Stories::visibility),
          new Story("a history is read", "", Stories::history),
          new Story("side effects and versions are recorded", "", Stories::sideEffects),
          new Story("a task queue shows its pollers", "", Stories::taskQueue),
          new Story("a run is reset to its first task", "ResetWorkflowExecution", Stories::reset),
          new Story(
              "a batch terminates what a query finds", "StartBatchOperation DescribeBatchOperation", Stories::batch),
          new Story(
              "a schedule is made, triggered, paused, changed, deleted",
              "CreateSchedule PatchSchedule UpdateSchedule",
              Stories::schedules),
          new Story(
              "an activity runs without a workflow",
              "StartActivityExecution PollActivityExecution",
              Stories::standaloneActivity),
          new Story("a month passes in no time", "", Stories::skippingTime));

  private Stories() {}

  private static WorkflowExecutionStatus status(WorkflowStub run) {
    return run.describe().getStatus();
  }

  private static void startAndResult(World world) {
    WorkflowStub run = world.start("Greet", "Ann");
    want("result", run.getResult(String.class), "Hello, Ann");
    want("status", status(run), WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED);
    want("type", run.describe().getWorkflowType(), "Greet");
  }

  private static void idInUse(World world) throws Exception {
    WorkflowOptions.Builder options = world.options();
    WorkflowStub first = world.start("Basket", options);
    wantFailure(WorkflowExecutionAlreadyStarted.class, w -> w.start("Basket", options), world);
    options.setWorkflowIdConflictPolicy(WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING);
    WorkflowStub second = world.start("Basket", options);
    want("run", second.getExecution().getRunId(), first.getExecution().getRunId());
    first.terminate("done");
  }

  private static void health(World world) {
    world.service.healthCheck();
    want(
        "cluster",
        world.service.blockingStub().getClusterInfo(GetClusterInfoRequest.getDefaultInstance()).getClusterName(),
        "active");
  }

  private static void namespaces(World world) throws Exception {
    String name = unique("java");
    RegisterNamespaceRequest.Builder register = RegisterNamespaceRequest.newBuilder().setNamespace(name);
    register.setWorkflowExecutionRetentionPeriod(Durations.fromDays(1));
    world.service.blockingStub().registerNamespace(register.build());
    DescribeNamespaceRequest.Builder describe = DescribeNamespaceRequest.newBuilder().setNamespace(name);
    want(
        "retention",
        world.service.blockingStub().describeNamespace(describe.build()).getConfig().getWorkflowExecutionRetentionTtl(),
        Durations.fromDays(1));
    describe.setNamespace(name + "x");
    wantCode(
        Status.Code.NOT_FOUND, w -> w.service.blockingStub().describeNamespace(describe.build()), world);
  }

  private static void signalsAndQueries(World world) throws Exception {
    WorkflowStub run = world.start("Basket");
    for (String item : List.of("apple", "bread", "cheese")) {
      run.signal("add", item);
    }
    want("query", run.query("items", String.class), "apple,bread,cheese");
    wantFailure(WorkflowQueryException.class, w -> run.query("price", String.class), world);
    run.signal("close");
    want("result", run.getResult(String.class), "apple,bread,cheese");
    want("query when closed", run.query("items", String.class), "apple,bread,cheese");
    wantFailure(WorkflowNotFoundException.class, w -> run.signal("add", "late"), world);
  }

  private static void signalWithStart(World world) {
    WorkflowOptions options = world.options().build();
    WorkflowStub run = world.client.newUntypedWorkflowStub("Basket", options);
    run.signalWithStart("add", new Object[] {"apple"}, new Object[] {});
    world
        .client
        .newUntypedWorkflowStub("Basket", options)
        .signalWithStart("add", new Object[] {"bread"}, new Object[] {});
    run.signal("close");
    want("result", run.getResult(String.class), "apple,bread");
  }

  private static void updates(World world) throws Exception {
    WorkflowStub run = world.start("Counter");
    want("first", run.update("add", Integer.class, 5), 5);
    wantFailure(WorkflowUpdateException.class, w -> run.update("add", Integer.class, -1), world);
    wantFailure(WorkflowUpdateException.class, w -> run.update("add", Integer.class, 100), world);
    UpdateOptions<Integer> options =
        UpdateOptions.newBuilder(Integer.class)
            .setUpdateName("add")
            .setUpdateId("second")
            .setWaitForStage(WorkflowUpdateStage.ACCEPTED)
            .build();
    WorkflowUpdateHandle<Integer> accepted = run.startUpdate(options, 2);
    want("second", accepted.getResultAsync().get(), 7);
    want("asked again", run.getUpdateHandle("second", Integer.class).getResultAsync().get(), 7);
    run.signal("close");
    want("result", run.getResult(Integer.class), 7);
  }

  private static void updateWithStart(World world) {
    WorkflowOptions options =
        world
            .options()
            .setWorkflowIdConflictPolicy(WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING)
            .build();
    UpdateOptions<Integer> update =
        UpdateOptions.newBuilder(Integer.class)
            .setUpdateName("add")
            .setWaitForStage(WorkflowUpdateStage.COMPLETED)
            .build();
    for (int wanted : List.of(3, 6)) {
      WorkflowStub run = world.client.newUntypedWorkflowStub("Counter", options);
      want("total", run.executeUpdateWithStart(update, new Object[] {3}, new Object[] {}), wanted);
    }
    world.client.newUntypedWorkflowStub(options.getWorkflowId()).signal("close");
  }

  private static void retries(World world) {
    want("attempt and failure", world.result(String.class, "Retrying"), "3 Hopeless true");
  }

  private static void heartbeats(World world) {
    want("details", world.result(Integer.class, "Heartbeating"), 42);
  }

  private static void activityCancelled(World world) {
    want("cancelled", world.result(Boolean.class, "CancelsActivity"), true);
  }

  private static void asynchronous(World world) throws Exception {
    WorkflowStub run = world.start("Asynchronous");
    String id = run.getExecution().getWorkflowId();
    until(
        "the activity's start",
        () ->
            run.describe().getRawDescription().getPendingActivitiesList().stream()
                .anyMatch(
                    pending -> pending.getState() == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED));
    String activity = run.describe().getRawDescription().getPendingActivities(0).getActivityId();
    ActivityCompletionClient outside = world.client.newActivityCompletionClient();
    outside.heartbeat(id, Optional.empty(), activity, "half");
    outside.complete(id, Optional.empty(), activity, "done");
    want("result", run.getResult(String.class), "done");
    wantFailure(
        ActivityCompletionException.class, w -> outside.complete(id, Optional.empty(), activity, "again"), world);
  }

  private static void localActivity(World world) {
    want("attempt", world.result(Integer.class, "Local"), 2);
  }

  private static void timers(World world) {
    want("slept, cancelled", world.result(String.class, "Timers"), "true true");
  }

  private static void children(World world) {
    String[] told = world.result(String.class, "Parent").split("\\|");
    want("children", told[0], "Hello, Ann Refused");
    WorkflowStub left = world.client.newUntypedWorkflowStub(told[1]);
    left.signal("name", "Bob");
    want("child left behind", left.getResult(String.class), "Hello, Bob");
  }

  private static void neighbours(World world) throws Exception {
    WorkflowStub basket = world.start("Basket");
    WorkflowStub forever = world.start("Forever");
    String signalled = basket.getExecution().getWorkflowId();
    String cancelled = forever.getExecution().getWorkflowId();
    want("unknown workflow", world.result(Boolean.class, "Neighbour", signalled, cancelled), true);
    wantFailure(CanceledFailure.class, w -> forever.getResult(Void.class), world);
    want("signal", basket.query("items", String.class), "pear");
    basket.terminate("done");
  }

  private static void continueAsNew(World world) {
    want("is a continued run", world.result(Boolean.class, "Countdown", 3), true);
  }

  private static void cancelled(World world) throws Exception {
    WorkflowStub run = world.start("Forever");
    run.cancel();
    wantFailure(CanceledFailure.class, w -> run.getResult(Void.class), world);
    want("status", status(run), WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED);
  }

  private static void terminated(World world) throws Exception {
    WorkflowStub run = world.start("Forever");
    run.terminate("enough", "details");
    wantFailure(TerminatedFailure.class, w -> run.getResult(Void.class), world);
  }

  private static void workflowRetries(World world) throws Exception {
    RetryOptions retries = RetryOptions.newBuilder().setInitialInterval(Duration.ofMillis(10)).build();
    WorkflowStub run = world.start("Fails", world.options().setRetryOptions(retries));
    want("attempt", run.getResult(Integer.class), 3);
    WorkflowStub slow = world.start("Forever", world.options().setWorkflowRunTimeout(Duration.ofSeconds(1)));
    wantFailure(TimeoutFailure.class, w -> slow.getResult(Void.class), world);
  }

  private static void visibility(World world) throws Exception {
    String customer = unique("customer");
    WorkflowOptions.Builder options =
        world
            .options()
            .setTypedSearchAttributes(
                SearchAttributes.newBuilder().set(Workflows.CUSTOMER_ID, customer).build())
            .setMemo(Map.of("note", "new"));
    WorkflowStub run = world.start("Tagged", options);
    String query = "CustomerId = '" + customer + "' AND Amount = 7 AND ExecutionStatus = 'Running'";
    until("the upserted attribute", () -> world.client.listExecutions(query).count() == 1);
    want(
        "listed",
        world.client.listExecutions(query).findFirst().orElseThrow().getExecution(),
        run.getExecution());
    String grouped = "CustomerId = '" + customer + "' GROUP BY ExecutionStatus";
    want("counted", world.client.countWorkflows(grouped).getCount(), 1L);
    want("groups", world.client.countWorkflows(grouped).getGroups().size(), 1);
    want("attribute", run.describe().getTypedSearchAttributes().get(Workflows.AMOUNT), 7L);
    want("memo", run.describe().getMemo("note", String.class), "gift");
    run.signal("close");
  }

  private static void history(World world) {
    WorkflowStub run = world.start("Versioned");
    run.getResult(String.class);
    WorkflowExecution execution = run.getExecution();
    List<HistoryEvent> events =
        world.client.fetchHistory(execution.getWorkflowId(), execution.getRunId()).getEvents();
    HistoryEvent last = events.get(events.size() - 1);
    want("close event", last.getEventType(), EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED);
    want("events", last.getEventId(), (long) events.size());
  }

  private static void sideEffects(World world) {
    want("side effect, mutable, version", world.result(String.class, "Versioned"), "41 5 2");
  }

  private static void taskQueue(World world) throws Exception {
    DescribeTaskQueueRequest request =
        DescribeTaskQueueRequest.newBuilder()
            .setNamespace("default")
            .setTaskQueue(TaskQueue.newBuilder().setName(world.queue))
            .setTaskQueueType(TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
            .build();
    until(
        "the worker's polls", () -> world.service.blockingStub().describeTaskQueue(request).getPollersCount() > 0);
  }

  private static void reset(World world) {
    WorkflowStub run = world.start("Step");
    run.signal("add", "milk");
    run.getResult(String.class);
    String runId =
        world
            .service
            .blockingStub()
            .resetWorkflowExecution(
                ResetWorkflowExecutionRequest.newBuilder()
                    .setNamespace("default")
                    .setWorkflowExecution(run.getExecution())
                    .setReason("again")
                    .setWorkflowTaskFinishEventId(4)
                    .setRequestId(unique("reset"))
                    .build())
            .getRunId();
    WorkflowStub again =
        world.client.newUntypedWorkflowStub(
            run.getExecution().getWorkflowId(), Optional.of(runId), Optional.empty());
    want("result of the new run", again.getResult(String.class), "Hello, reset milk");
  }

  private static void batch(World world) throws Exception {
    String customer = unique("customer");
    WorkflowStub run =
        world.start(
            "Forever",
            world
                .options()
                .setTypedSearchAttributes(
                    SearchAttributes.newBuilder().set(Workflows.CUSTOMER_ID, customer).build()));
    String job = unique("job");
    world
        .service
        .blockingStub()
        .startBatchOperation(
            StartBatchOperationRequest.newBuilder()
                .setNamespace("default")
                .setJobId(job)
                .setReason("enough")
                .setVisibilityQuery("CustomerId = '" + customer + "'")
                .setTerminationOperation(BatchOperationTermination.getDefaultInstance())
                .build());
    wantFailure(TerminatedFailure.class, w -> run.getResult(Void.class), world);
    DescribeBatchOperationRequest describe =
        DescribeBatchOperationRequest.newBuilder().setNamespace("default").setJobId(job).build();
    until(
        "the end of the batch",
        () ->
            world.service.blockingStub().describeBatchOperation(describe).getState()
                == BatchOperationState.BATCH_OPERATION_STATE_COMPLETED);
  }

  private static void schedules(World world) throws Exception {
    ScheduleClient client = ScheduleClient.newInstance(world.service);
    String id = unique("schedule");
    Schedule schedule =
        Schedule.newBuilder()
            .setAction(
                ScheduleActionStartWorkflow.newBuilder()
                    .setWorkflowType("Greet")
                    .setArguments("Sam")
                    .setOptions(
                        WorkflowOptions.newBuilder()
                            .setWorkflowId(unique("scheduled"))
                            .setTaskQueue(world.queue)
                            .build())
                    .build())
            .setSpec(every(1))
            .build();
    ScheduleHandle handle = client.createSchedule(id, schedule, ScheduleOptions.newBuilder().build());
    handle.trigger();
    until("the triggered run", () -> !handle.describe().getInfo().getRecentActions().isEmpty());
    ScheduleActionResult ran = handle.describe().getInfo().getRecentActions().get(0);
    String started = ((ScheduleActionExecutionStartWorkflow) ran.getAction()).getWorkflowId();
    want("result", world.client.newUntypedWorkflowStub(started).getResult(String.class), "Hello, Sam");
    handle.pause("holiday");
    handle.update(
        input ->
            new ScheduleUpdate(
                Schedule.newBuilder(input.getDescription().getSchedule()).setSpec(every(2)).build()));
    Schedule changed = handle.describe().getSchedule();
    want("paused", changed.getState().isPaused(), true);
    want("note", changed.getState().getNote(), "holiday");
    want("interval", changed.getSpec().getIntervals().get(0).getEvery(), Duration.ofHours(2));
    want(
        "listed",
        client.listSchedules().map(listed -> listed.getScheduleId()).collect(Collectors.toSet()).contains(id),
        true);
    handle.unpause();
    handle.delete();
    wantFailure(ScheduleException.class, w -> handle.describe(), world);
  }

  private static ScheduleSpec every(int hours) {
    return ScheduleSpec.newBuilder()
        .setIntervals(List.of(new ScheduleIntervalSpec(Duration.ofHours(hours))))
        .build();
  }

  private static void standaloneActivity(World world) {
    StartActivityOptions options =
        StartActivityOptions.newBuilder()
            .setId(unique("alone"))
            .setTaskQueue(world.queue)
            .setStartToCloseTimeout(Duration.ofSeconds(10))
            .build();
    ActivityHandle<String> handle =
        ActivityClient.newInstance(world.service).start("Hello", String.class, options, "Zoe");
    want("result", handle.getResult(), "Hello, Zoe");
    want(
        "status",
        handle.describe().getRawInfo().getStatus(),
        ActivityExecutionStatus.ACTIVITY_EXECUTION_STATUS_COMPLETED);
  }

  private static void skippingTime(World ignored) {
    try (World world = World.at(System.getenv("PERDURE_SKIPPING_ADDRESS"))) {
      WorkflowOptions.Builder options = world.options().setWorkflowExecutionTimeout(Duration.ofDays(100));
      WorkflowStub run = world.start("Sleeper", options, 30);
      Channel channel = world.service.getRawChannel();
      testService(channel, "UnlockTimeSkipping");
      run.getResult(Void.class);
      testService(channel, "LockTimeSkipping");
    }
  }

  /** Call an RPC of the test service whose messages are empty. The SDK itself has no stubs of that service. */
  private static void testService(Channel channel, String rpc) {
    MethodDescriptor<Empty, Empty> method =
        MethodDescriptor.<Empty, Empty>newBuilder()
            .setType(MethodDescriptor.MethodType.UNARY)
            .setFullMethodName("temporal.api.testservice.v1.TestService/" + rpc)
            .setRequestMarshaller(ProtoUtils.marshaller(Empty.getDefaultInstance()))
            .setResponseMarshaller(ProtoUtils.marshaller(Empty.getDefaultInstance()))
            .build();
    ClientCalls.blockingUnaryCall(channel, method, CallOptions.DEFAULT, Empty.getDefaultInstance());
  }
}
