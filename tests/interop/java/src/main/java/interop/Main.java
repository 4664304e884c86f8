package interop;

import io.grpc.StatusRuntimeException;
import io.temporal.client.WorkflowClient;
import io.temporal.client.WorkflowOptions;
import io.temporal.client.WorkflowStub;
import io.temporal.serviceclient.WorkflowServiceStubs;
import io.temporal.serviceclient.WorkflowServiceStubsOptions;
import io.temporal.worker.Worker;
import io.temporal.worker.WorkerFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Runs the official Java SDK, unmodified, against a running server: a worker, a client, a story for each feature.
 *
 * <p>PERDURE_ADDRESS is the server on the wall clock, PERDURE_SKIPPING_ADDRESS one whose time skips, PERDURE_UNSERVED
 * the RPCs that the server does not claim to serve, separated by commas. A story that needs one of those is not told.
 */
public final class Main {
  private static final int AT_ONCE = 6;
  private static final int STORY_SECONDS = 30;

  /** What is told, and the RPCs without which it cannot be, separated by spaces. */
  record Story(String name, String needs, Telling telling) {}

  interface Telling {
    void tell(World world) throws Exception;
  }

  private record Outcome(String word, String detail, double seconds) {}

  private Main() {}

  public static void main(String[] arguments) throws Exception {
    int failed;
    try (World world = World.at(System.getenv("PERDURE_ADDRESS"))) {
      failed = tellAll(world, Set.of(System.getenv("PERDURE_UNSERVED").split(",")));
    }
    System.exit(failed == 0 ? 0 : 1);
  }

  private static int tellAll(World world, Set<String> unserved) throws Exception {
    ExecutorService tellers = Executors.newFixedThreadPool(AT_ONCE);
    List<Future<Outcome>> outcomes = new ArrayList<>();
    for (Story story : Stories.ALL) {
      outcomes.add(tellers.submit(() -> tell(story, world, unserved)));
    }
    int failed = 0;
    for (int at = 0; at < outcomes.size(); at++) {
      Outcome outcome = outcomes.get(at).get();
      System.out.printf(
          "  %-56s %-9s %5.1f s  %s%n",
          Stories.ALL.get(at).name(), outcome.word(), outcome.seconds(), outcome.detail());
      failed += outcome.word().equals("failed") ? 1 : 0;
    }
    tellers.shutdown();
    return failed;
  }

  private static Outcome tell(Story story, World world, Set<String> unserved) throws InterruptedException {
    for (String rpc : story.needs().split(" ")) {
      if (unserved.contains(rpc)) {
        return new Outcome("unserved", "the server has no " + rpc, 0);
      }
    }
    long began = System.nanoTime();
    ExecutorService teller = Executors.newSingleThreadExecutor(Main::daemon);
    String failure = "";
    try {
      Callable<Void> telling =
          () -> {
            story.telling().tell(world);
            return null;
          };
      teller.submit(telling).get(STORY_SECONDS, TimeUnit.SECONDS);
    } catch (ExecutionException error) {
      failure = what(error.getCause());
    } catch (TimeoutException error) {
      failure = "not done within " + STORY_SECONDS + " s";
    } finally {
      teller.shutdownNow();
    }
    return new Outcome(failure.isEmpty() ? "ok" : "failed", failure, (System.nanoTime() - began) / 1e9);
  }

  private static Thread daemon(Runnable work) {
    Thread thread = new Thread(work);
    thread.setDaemon(true);
    return thread;
  }

  private static String what(Throwable error) {
    StringBuilder text = new StringBuilder(error.toString());
    for (Throwable cause = error.getCause(); cause != null; cause = cause.getCause()) {
      text.append(" <- ").append(cause);
    }
    return text.toString().replace('\n', ' ');
  }

  /** A connected client, and a worker on a task queue of its own. */
  static final class World implements AutoCloseable {
    final WorkflowServiceStubs service;
    final WorkflowClient client;
    final String queue = unique("java");
    private final WorkerFactory workers;

    private World(WorkflowServiceStubs service) {
      this.service = service;
      client = WorkflowClient.newInstance(service);
      workers = WorkerFactory.newInstance(client);
      Worker worker = workers.newWorker(queue);
      worker.registerWorkflowImplementationTypes(Workflows.ALL);
      worker.registerActivitiesImplementations(new Activities.Told());
      workers.start();
    }

    static World at(String address) {
      WorkflowServiceStubsOptions options = WorkflowServiceStubsOptions.newBuilder().setTarget(address).build();
      return new World(WorkflowServiceStubs.newConnectedServiceStubs(options, Duration.ofSeconds(10)));
    }

    WorkflowOptions.Builder options() {
      return WorkflowOptions.newBuilder()
          .setWorkflowId(unique("java"))
          .setTaskQueue(queue)
          .setWorkflowExecutionTimeout(Duration.ofMinutes(1));
    }

    /** Start a workflow of that type. */
    WorkflowStub start(String type, Object... arguments) {
      return start(type, options(), arguments);
    }

    WorkflowStub start(String type, WorkflowOptions.Builder options, Object... arguments) {
      WorkflowStub stub = client.newUntypedWorkflowStub(type, options.build());
      stub.start(arguments);
      return stub;
    }

    /** Run a workflow of that type to its end. */
    <T> T result(Class<T> kind, String type, Object... arguments) {
      return start(type, arguments).getResult(kind);
    }

    @Override
    public void close() {
      workers.shutdownNow();
      workers.awaitTermination(5, TimeUnit.SECONDS);
      service.shutdownNow();
    }
  }

  static String unique(String name) {
    return name + "-" + UUID.randomUUID().toString().substring(0, 8);
  }

  static void want(String what, Object got, Object wanted) {
    if (!Objects.equals(got, wanted)) {
      throw new AssertionError(what + ": got " + got + ", wanted " + wanted);
    }
  }

  /** The failure of that kind which `act` ends with. */
  static <T extends Throwable> T wantFailure(Class<T> kind, Telling act, World world) throws Exception {
    try {
      act.tell(world);
    } catch (Exception error) {
      for (Throwable cause = error; cause != null; cause = cause.getCause()) {
        if (kind.isInstance(cause)) {
          return kind.cast(cause);
        }
      }
      throw error;
    }
    throw new AssertionError("it did not fail with " + kind.getSimpleName());
  }

  static void wantCode(io.grpc.Status.Code code, Telling act, World world) throws Exception {
    want("code", wantFailure(StatusRuntimeException.class, act, world).getStatus().getCode(), code);
  }

  /** Ask again, a little later, until the answer is true. */
  static void until(String what, Callable<Boolean> ask) throws Exception {
    while (!ask.call()) {
      Thread.sleep(20); // interrupted when the story's time is up
    }
  }
}
