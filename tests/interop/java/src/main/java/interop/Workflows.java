package interop;

import io.temporal.activity.ActivityCancellationType;
import io.temporal.activity.ActivityOptions;
import io.temporal.activity.LocalActivityOptions;
import io.temporal.api.common.v1.WorkflowExecution;
import io.temporal.api.enums.v1.ParentClosePolicy;
import io.temporal.common.RetryOptions;
import io.temporal.common.SearchAttributeKey;
import io.temporal.failure.ActivityFailure;
import io.temporal.failure.ApplicationFailure;
import io.temporal.failure.CanceledFailure;
import io.temporal.failure.ChildWorkflowFailure;
import io.temporal.workflow.Async;
import io.temporal.workflow.CancellationScope;
import io.temporal.workflow.ChildWorkflowOptions;
import io.temporal.workflow.ExternalWorkflowStub;
import io.temporal.workflow.Promise;
import io.temporal.workflow.QueryMethod;
import io.temporal.workflow.SignalMethod;
import io.temporal.workflow.UpdateMethod;
import io.temporal.workflow.UpdateValidatorMethod;
import io.temporal.workflow.Workflow;
import io.temporal.workflow.WorkflowInfo;
import io.temporal.workflow.WorkflowInterface;
import io.temporal.workflow.WorkflowMethod;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The workflows of the stories; each interface's name is its type's. */
final class Workflows {
  static final Class<?>[] ALL = {
    GreetTold.class, BasketTold.class, CounterTold.class, RetryingTold.class, HeartbeatingTold.class,
    CancelsActivityTold.class, AsynchronousTold.class, LocalTold.class, TimersTold.class, ParentTold.class,
    ChildTold.class, NeighbourTold.class, CountdownTold.class, ForeverTold.class, TaggedTold.class,
    VersionedTold.class, FailsTold.class, SleeperTold.class, StepTold.class,
  };

  static final SearchAttributeKey<String> CUSTOMER_ID = SearchAttributeKey.forKeyword("CustomerId");
  static final SearchAttributeKey<Long> AMOUNT = SearchAttributeKey.forLong("Amount");

  private Workflows() {}

  private static ActivityOptions.Builder soon() {
    return ActivityOptions.newBuilder()
        .setStartToCloseTimeout(Duration.ofSeconds(20))
        .setRetryOptions(
            RetryOptions.newBuilder().setInitialInterval(Duration.ofMillis(10)).setMaximumAttempts(5).build());
  }

  private static Activities activities() {
    return Workflow.newActivityStub(Activities.class, soon().build());
  }

  @WorkflowInterface
  public interface Greet {
    @WorkflowMethod
    String run(String name);
  }

  /** Asks an activity. */
  public static final class GreetTold implements Greet {
    @Override
    public String run(String name) {
      return activities().hello(name);
    }
  }

  @WorkflowInterface
  public interface Basket {
    @WorkflowMethod
    String run();

    @SignalMethod
    void add(String item);

    @SignalMethod
    void close();

    @QueryMethod
    String items();
  }

  /** Takes items by signal until it is told to close, and tells of them by query. */
  public static final class BasketTold implements Basket {
    private final List<String> items = new ArrayList<>();
    private boolean closed;

    @Override
    public String run() {
      Workflow.await(() -> closed);
      return items();
    }

    @Override
    public void add(String item) {
      items.add(item);
    }

    @Override
    public void close() {
      closed = true;
    }

    @Override
    public String items() {
      return String.join(",", items);
    }
  }

  @WorkflowInterface
  public interface Counter {
    @WorkflowMethod
    int run();

    @UpdateMethod
    int add(int by);

    @UpdateValidatorMethod(updateName = "add")
    void mayAdd(int by);

    @SignalMethod
    void close();
  }

  /** Is changed by update; refuses to go down. */
  public static final class CounterTold implements Counter {
    private int total;
    private boolean closed;

    @Override
    public int run() {
      Workflow.await(() -> closed && Workflow.isEveryHandlerFinished());
      return total;
    }

    @Override
    public int add(int by) {
      if (by == 100) {
        throw ApplicationFailure.newFailure("too much", "TooMuch");
      }
      activities().hello("update");
      total += by;
      return total;
    }

    @Override
    public void mayAdd(int by) {
      if (by < 0) {
        throw new IllegalArgumentException("cannot go down");
      }
    }

    @Override
    public void close() {
      closed = true;
    }
  }

  @WorkflowInterface
  public interface Retrying {
    @WorkflowMethod
    String run();
  }

  /** Gives the attempt in which an activity succeeded, and how it fails when it may not be retried. */
  public static final class RetryingTold implements Retrying {
    @Override
    public String run() {
      int attempt = activities().flaky(3);
      try {
        activities().flaky(-1);
      } catch (ActivityFailure failure) {
        ApplicationFailure cause = (ApplicationFailure) failure.getCause();
        return attempt + " " + cause.getType() + " " + cause.isNonRetryable();
      }
      return "it did not fail";
    }
  }

  @WorkflowInterface
  public interface Heartbeating {
    @WorkflowMethod
    int run();
  }

  /** Gives what a second attempt found of the first one's heartbeat. */
  public static final class HeartbeatingTold implements Heartbeating {
    @Override
    public int run() {
      ActivityOptions options = soon().setHeartbeatTimeout(Duration.ofSeconds(10)).build();
      return Workflow.newActivityStub(Activities.class, options).resumes();
    }
  }

  @WorkflowInterface
  public interface CancelsActivity {
    @WorkflowMethod
    boolean run();
  }

  /** Cancels an activity that heartbeats, and waits for what it says to that. */
  public static final class CancelsActivityTold implements CancelsActivity {
    @Override
    public boolean run() {
      ActivityOptions options =
          soon()
              .setHeartbeatTimeout(Duration.ofSeconds(1))
              .setCancellationType(ActivityCancellationType.WAIT_CANCELLATION_COMPLETED)
              .build();
      Activities activities = Workflow.newActivityStub(Activities.class, options);
      List<Promise<Void>> endless = new ArrayList<>();
      CancellationScope scope =
          Workflow.newCancellationScope(() -> endless.add(Async.procedure(activities::endless)));
      scope.run();
      Workflow.sleep(Duration.ofMillis(50));
      scope.cancel();
      try {
        endless.get(0).get();
      } catch (ActivityFailure failure) {
        return failure.getCause() instanceof CanceledFailure;
      }
      return false;
    }
  }

  @WorkflowInterface
  public interface Asynchronous {
    @WorkflowMethod
    String run();
  }

  /** Waits for an activity that somebody else completes. */
  public static final class AsynchronousTold implements Asynchronous {
    @Override
    public String run() {
      return activities().later();
    }
  }

  @WorkflowInterface
  public interface Local {
    @WorkflowMethod
    int run();
  }

  /** Runs an activity in the workflow's own worker, with a retry. */
  public static final class LocalTold implements Local {
    @Override
    public int run() {
      LocalActivityOptions options =
          LocalActivityOptions.newBuilder()
              .setScheduleToCloseTimeout(Duration.ofSeconds(10))
              .setRetryOptions(RetryOptions.newBuilder().setInitialInterval(Duration.ofMillis(1)).build())
              .build();
      return Workflow.newLocalActivityStub(Activities.class, options).flaky(2);
    }
  }

  @WorkflowInterface
  public interface Timers {
    @WorkflowMethod
    String run();
  }

  /** Lets one timer fire and cancels another. */
  public static final class TimersTold implements Timers {
    @Override
    public String run() {
      List<Promise<Void>> never = new ArrayList<>();
      CancellationScope scope =
          Workflow.newCancellationScope(() -> never.add(Workflow.newTimer(Duration.ofHours(1))));
      scope.run();
      long began = Workflow.currentTimeMillis();
      Workflow.sleep(Duration.ofMillis(20));
      boolean slept = Workflow.currentTimeMillis() - began >= 20;
      scope.cancel();
      return slept + " " + (never.get(0).getFailure() instanceof CanceledFailure);
    }
  }

  @WorkflowInterface
  public interface Parent {
    @WorkflowMethod
    String run();
  }

  /** Starts a child, signals it, waits for it; sees another one fail; leaves a third behind. */
  public static final class ParentTold implements Parent {
    @Override
    public String run() {
      ChildWorkflowOptions options =
          ChildWorkflowOptions.newBuilder().setParentClosePolicy(ParentClosePolicy.PARENT_CLOSE_POLICY_ABANDON).build();
      Child child = Workflow.newChildWorkflowStub(Child.class, options);
      Promise<String> answer = Async.function(child::run, false);
      Workflow.getWorkflowExecution(child).get();
      child.name("Ann");
      String told = answer.get();
      try {
        Workflow.newChildWorkflowStub(Child.class, options).run(true);
        return "it did not fail";
      } catch (ChildWorkflowFailure failure) {
        told += " " + ((ApplicationFailure) failure.getCause()).getType();
      }
      Child left = Workflow.newChildWorkflowStub(Child.class, options);
      Async.function(left::run, false);
      WorkflowExecution execution = Workflow.getWorkflowExecution(left).get();
      return told + "|" + execution.getWorkflowId();
    }
  }

  @WorkflowInterface
  public interface Child {
    @WorkflowMethod
    String run(boolean fail);

    @SignalMethod
    void name(String name);
  }

  /** Waits for a name, or fails. */
  public static final class ChildTold implements Child {
    private String name;

    @Override
    public String run(boolean fail) {
      if (fail) {
        throw ApplicationFailure.newFailure("no", "Refused");
      }
      Workflow.await(() -> name != null);
      return "Hello, " + name;
    }

    @Override
    public void name(String name) {
      this.name = name;
    }
  }

  @WorkflowInterface
  public interface Neighbour {
    @WorkflowMethod
    boolean run(String signalled, String cancelled);
  }

  /** Signals one workflow and cancels another, neither of them its child. */
  public static final class NeighbourTold implements Neighbour {
    @Override
    public boolean run(String signalled, String cancelled) {
      Workflow.newExternalWorkflowStub(Basket.class, signalled).add("pear");
      Workflow.newUntypedExternalWorkflowStub(cancelled).cancel();
      ExternalWorkflowStub nobody = Workflow.newUntypedExternalWorkflowStub("nobody");
      try {
        nobody.signal("add", "pear");
      } catch (ApplicationFailure failure) {
        return failure.getType().endsWith("EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND");
      }
      return false;
    }
  }

  @WorkflowInterface
  public interface Countdown {
    @WorkflowMethod
    boolean run(int left);
  }

  /** Continues as new until nothing is left. */
  public static final class CountdownTold implements Countdown {
    @Override
    public boolean run(int left) {
      if (left > 0) {
        Workflow.continueAsNew(left - 1);
      }
      WorkflowInfo info = Workflow.getInfo();
      return info.getContinuedExecutionRunId().isPresent() && !info.getFirstExecutionRunId().equals(info.getRunId());
    }
  }

  @WorkflowInterface
  public interface Forever {
    @WorkflowMethod
    void run();
  }

  /** Waits to be cancelled, and tidies up then. */
  public static final class ForeverTold implements Forever {
    @Override
    public void run() {
      try {
        Workflow.sleep(Duration.ofHours(1));
      } catch (CanceledFailure cancelled) {
        Workflow.newDetachedCancellationScope(() -> activities().hello("tidy")).run();
        throw cancelled;
      }
    }
  }

  @WorkflowInterface
  public interface Tagged {
    @WorkflowMethod
    void run();

    @SignalMethod
    void close();
  }

  /** Changes its search attributes and its memo. */
  public static final class TaggedTold implements Tagged {
    private boolean closed;

    @Override
    public void run() {
      Workflow.upsertTypedSearchAttributes(AMOUNT.valueSet(7L));
      Workflow.upsertMemo(Map.of("note", "gift"));
      Workflow.await(() -> closed);
    }

    @Override
    public void close() {
      closed = true;
    }
  }

  @WorkflowInterface
  public interface Versioned {
    @WorkflowMethod
    String run();
  }

  /** Records what must come out the same in a replay. */
  public static final class VersionedTold implements Versioned {
    @Override
    public String run() {
      int side = Workflow.sideEffect(Integer.class, () -> 41);
      int mutable = 0;
      for (int time = 0; time < 2; time++) {
        mutable = Workflow.mutableSideEffect("rate", Integer.class, (old, now) -> !old.equals(now), () -> 5);
      }
      int version = Workflow.getVersion("discount", Workflow.DEFAULT_VERSION, 2);
      Workflow.sleep(Duration.ofMillis(1));
      return side + " " + mutable + " " + version;
    }
  }

  @WorkflowInterface
  public interface Fails {
    @WorkflowMethod
    int run();
  }

  /** Fails until its third attempt. */
  public static final class FailsTold implements Fails {
    @Override
    public int run() {
      int attempt = Workflow.getInfo().getAttempt();
      if (attempt < 3) {
        throw ApplicationFailure.newFailure("not yet", "NotYet");
      }
      return attempt;
    }
  }

  @WorkflowInterface
  public interface Sleeper {
    @WorkflowMethod
    void run(long days);
  }

  /** Sleeps for as long as it is told. */
  public static final class SleeperTold implements Sleeper {
    @Override
    public void run(long days) {
      Workflow.sleep(Duration.ofDays(days));
    }
  }

  @WorkflowInterface
  public interface Step {
    @WorkflowMethod
    String run();

    @SignalMethod
    void add(String item);
  }

  /** Asks an activity, then waits for a signal that a reset must bring along. */
  public static final class StepTold implements Step {
    private String item;

    @Override
    public String run() {
      String greeting = activities().hello("reset");
      Workflow.await(() -> item != null);
      return greeting + " " + item;
    }

    @Override
    public void add(String item) {
      this.item = item;
    }
  }
}
