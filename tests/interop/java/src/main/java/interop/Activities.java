package interop;

import io.temporal.activity.Activity;
import io.temporal.activity.ActivityExecutionContext;
import io.temporal.activity.ActivityInterface;
import io.temporal.failure.ApplicationFailure;

/** What the workflows ask of the outside world. */
@ActivityInterface
public interface Activities {
  String hello(String name);

  /** Succeeds in that attempt; for -1 never. */
  int flaky(int succeeds);

  /** Fails once, then gives what the heartbeat of the first attempt said. */
  int resumes();

  /** Heartbeats until it is cancelled. */
  void endless();

  /** Is completed from outside. */
  String later();

  /** The activity. */
  final class Told implements Activities {
    @Override
    public String hello(String name) {
      return "Hello, " + name;
    }

    @Override
    public int flaky(int succeeds) {
      if (succeeds == -1) {
        throw ApplicationFailure.newNonRetryableFailure("hopeless", "Hopeless");
      }
      int attempt = Activity.getExecutionContext().getInfo().getAttempt();
      if (attempt < succeeds) {
        throw new IllegalStateException("not yet");
      }
      return attempt;
    }

    @Override
    public int resumes() {
      ActivityExecutionContext context = Activity.getExecutionContext();
      return context
          .getHeartbeatDetails(Integer.class)
          .orElseGet(
              () -> {
                context.heartbeat(42);
                throw new IllegalStateException("interrupted");
              });
    }

    @Override
    public void endless() {
      while (true) {
        Activity.getExecutionContext().heartbeat(null);
        try {
          Thread.sleep(50);
        } catch (InterruptedException error) {
          throw new IllegalStateException(error);
        }
      }
    }

    @Override
    public String later() {
      Activity.getExecutionContext().doNotCompleteOnReturn();
      return null;
    }
  }
}
