package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

var (
	customerID = temporal.NewSearchAttributeKeyKeyword("CustomerId")
	amount     = temporal.NewSearchAttributeKeyInt64("Amount")
)

func register(work worker.Worker) {
	for _, definition := range []any{
		Greet, Basket, Counter, Retrying, Heartbeating, CancelsActivity, Asynchronous, Local, Timers, Parent, Child,
		Neighbour, Countdown, Forever, Tagged, Versioned, InSession, Fails, Sleeper, Step,
	} {
		work.RegisterWorkflow(definition)
	}
	for _, definition := range []any{Hello, Flaky, Resumes, Endless, Later, Where} {
		work.RegisterActivity(definition)
	}
}

func soon(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 20 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 10 * time.Millisecond, MaximumAttempts: 5},
	})
}

// Greet asks an activity.
func Greet(ctx workflow.Context, name string) (string, error) {
	var greeting string
	err := workflow.ExecuteActivity(soon(ctx), Hello, name).Get(ctx, &greeting)
	return greeting, err
}

// Basket takes items by signal until it is told to close, and tells of them by query.
func Basket(ctx workflow.Context) (string, error) {
	var items []string
	listing := func() (string, error) { return strings.Join(items, ","), nil }
	if err := workflow.SetQueryHandler(ctx, "items", listing); err != nil {
		return "", err
	}
	adding, closing := workflow.GetSignalChannel(ctx, "add"), workflow.GetSignalChannel(ctx, "close")
	closed := false
	selector := workflow.NewSelector(ctx)
	selector.AddReceive(adding, func(channel workflow.ReceiveChannel, _ bool) {
		var item string
		channel.Receive(ctx, &item)
		items = append(items, item)
	})
	selector.AddReceive(closing, func(channel workflow.ReceiveChannel, _ bool) {
		channel.Receive(ctx, nil)
		closed = true
	})
	for !closed || selector.HasPending() {
		selector.Select(ctx)
	}
	return listing()
}

// Counter is changed by update; it refuses to be taken below zero.
func Counter(ctx workflow.Context) (int, error) {
	total, done := 0, false
	err := workflow.SetUpdateHandlerWithOptions(ctx, "add",
		func(ctx workflow.Context, by int) (int, error) {
			if by == 100 {
				return 0, temporal.NewApplicationError("too much", "TooMuch")
			}
			if err := workflow.ExecuteActivity(soon(ctx), Hello, "update").Get(ctx, nil); err != nil {
				return 0, err
			}
			total += by
			return total, nil
		},
		workflow.UpdateHandlerOptions{Validator: func(_ workflow.Context, by int) error {
			if by < 0 {
				return errors.New("cannot go down")
			}
			return nil
		}})
	if err != nil {
		return 0, err
	}
	workflow.Go(ctx, func(ctx workflow.Context) {
		workflow.GetSignalChannel(ctx, "close").Receive(ctx, nil)
		done = true
	})
	err = workflow.Await(ctx, func() bool { return done && workflow.AllHandlersFinished(ctx) })
	return total, err
}

// Retrying gives the attempt in which an activity succeeded, and how it fails when it may not be retried.
func Retrying(ctx workflow.Context) (string, error) {
	var attempt int
	if err := workflow.ExecuteActivity(soon(ctx), Flaky, 3).Get(ctx, &attempt); err != nil {
		return "", err
	}
	err := workflow.ExecuteActivity(soon(ctx), Flaky, -1).Get(ctx, nil)
	var failure *temporal.ApplicationError
	if !errors.As(err, &failure) {
		return "", fmt.Errorf("not an application error: %w", err)
	}
	return fmt.Sprint(attempt, " ", failure.Type(), " ", failure.NonRetryable()), nil
}

// Heartbeating gives what a second attempt found of the first one's heartbeat.
func Heartbeating(ctx workflow.Context) (int, error) {
	ctx = workflow.WithHeartbeatTimeout(soon(ctx), 10*time.Second)
	var found int
	err := workflow.ExecuteActivity(ctx, Resumes).Get(ctx, &found)
	return found, err
}

// CancelsActivity cancels an activity that heartbeats, and waits for what it says to that.
func CancelsActivity(ctx workflow.Context) (string, error) {
	ctx, cancel := workflow.WithCancel(soon(ctx))
	ctx = workflow.WithWaitForCancellation(workflow.WithHeartbeatTimeout(ctx, time.Second), true)
	endless := workflow.ExecuteActivity(ctx, Endless)
	if err := workflow.Sleep(ctx, 50*time.Millisecond); err != nil {
		return "", err
	}
	cancel()
	err := endless.Get(ctx, nil)
	return fmt.Sprint(temporal.IsCanceledError(err)), nil
}

// Asynchronous waits for an activity that somebody else completes.
func Asynchronous(ctx workflow.Context) (string, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		ActivityID: "later", StartToCloseTimeout: 20 * time.Second,
	})
	var told string
	err := workflow.ExecuteActivity(ctx, Later).Get(ctx, &told)
	return told, err
}

// Local runs an activity in the workflow's own worker, with a retry.
func Local(ctx workflow.Context) (int, error) {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		ScheduleToCloseTimeout: 10 * time.Second,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Millisecond},
	})
	var attempt int
	err := workflow.ExecuteLocalActivity(ctx, Flaky, 2).Get(ctx, &attempt)
	return attempt, err
}

// Timers lets one timer fire and cancels another.
func Timers(ctx workflow.Context) (string, error) {
	long, cancel := workflow.WithCancel(ctx)
	never := workflow.NewTimer(long, time.Hour)
	began := workflow.Now(ctx)
	if err := workflow.Sleep(ctx, 20*time.Millisecond); err != nil {
		return "", err
	}
	slept := workflow.Now(ctx).Sub(began) >= 20*time.Millisecond
	cancel()
	return fmt.Sprint(slept, " ", temporal.IsCanceledError(never.Get(ctx, nil))), nil
}

// Parent starts a child, signals it, waits for it; sees another one fail; leaves a third behind.
func Parent(ctx workflow.Context) (string, error) {
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_ABANDON,
	})
	child := workflow.ExecuteChildWorkflow(ctx, Child, false)
	if err := child.SignalChildWorkflow(ctx, "name", "Ann").Get(ctx, nil); err != nil {
		return "", err
	}
	var answer string
	if err := child.Get(ctx, &answer); err != nil {
		return "", err
	}
	failed := workflow.ExecuteChildWorkflow(ctx, Child, true).Get(ctx, nil)
	var failure *temporal.ChildWorkflowExecutionError
	if !errors.As(failed, &failure) {
		return "", fmt.Errorf("not a child's failure: %w", failed)
	}
	var left workflow.Execution
	if err := workflow.ExecuteChildWorkflow(ctx, Child, false).GetChildWorkflowExecution().Get(ctx, &left); err != nil {
		return "", err
	}
	return answer + "|" + left.ID, nil
}

// Child waits for a name, or fails.
func Child(ctx workflow.Context, fail bool) (string, error) {
	if fail {
		return "", temporal.NewApplicationError("no", "Refused")
	}
	var name string
	workflow.GetSignalChannel(ctx, "name").Receive(ctx, &name)
	return "Hello, " + name, nil
}

// Neighbour signals one workflow and cancels another, neither of them its child.
func Neighbour(ctx workflow.Context, signalled, cancelled string) (string, error) {
	if err := workflow.SignalExternalWorkflow(ctx, signalled, "", "add", "pear").Get(ctx, nil); err != nil {
		return "", err
	}
	if err := workflow.RequestCancelExternalWorkflow(ctx, cancelled, "").Get(ctx, nil); err != nil {
		return "", err
	}
	err := workflow.SignalExternalWorkflow(ctx, "nobody", "", "add", "pear").Get(ctx, nil)
	var unknown *temporal.UnknownExternalWorkflowExecutionError
	return fmt.Sprint(errors.As(err, &unknown)), nil
}

// Countdown continues as new until nothing is left.
func Countdown(ctx workflow.Context, left int) (string, error) {
	if left > 0 {
		return "", workflow.NewContinueAsNewError(ctx, Countdown, left-1)
	}
	info := workflow.GetInfo(ctx)
	return fmt.Sprint(info.ContinuedExecutionRunID != "", info.FirstRunID != info.WorkflowExecution.RunID), nil
}

// Forever waits to be cancelled, and tidies up then.
func Forever(ctx workflow.Context) error {
	err := workflow.Sleep(ctx, time.Hour)
	if temporal.IsCanceledError(err) {
		tidying, _ := workflow.NewDisconnectedContext(ctx)
		if failed := workflow.ExecuteActivity(soon(tidying), Hello, "tidy").Get(tidying, nil); failed != nil {
			return failed
		}
	}
	return err
}

// Tagged changes its search attributes and its memo.
func Tagged(ctx workflow.Context) error {
	if err := workflow.UpsertTypedSearchAttributes(ctx, amount.ValueSet(7)); err != nil {
		return err
	}
	if err := workflow.UpsertMemo(ctx, map[string]any{"note": "gift"}); err != nil {
		return err
	}
	workflow.GetSignalChannel(ctx, "close").Receive(ctx, nil)
	return nil
}

// Versioned records what must come out the same in a replay.
func Versioned(ctx workflow.Context) (string, error) {
	var side, mutable int
	if err := workflow.SideEffect(ctx, func(workflow.Context) any { return 41 }).Get(&side); err != nil {
		return "", err
	}
	same := func(a, b any) bool { return a == b }
	for range 2 {
		effect := workflow.MutableSideEffect(ctx, "rate", func(workflow.Context) any { return 5 }, same)
		if err := effect.Get(&mutable); err != nil {
			return "", err
		}
	}
	version := workflow.GetVersion(ctx, "discount", workflow.DefaultVersion, 2)
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return "", err
	}
	return fmt.Sprint(side, " ", mutable, " ", version), nil
}

// InSession runs two activities on one worker.
func InSession(ctx workflow.Context) (bool, error) {
	ctx, err := workflow.CreateSession(soon(ctx), &workflow.SessionOptions{
		CreationTimeout: 10 * time.Second, ExecutionTimeout: 20 * time.Second,
	})
	if err != nil {
		return false, err
	}
	defer workflow.CompleteSession(ctx)
	var first, second string
	if err := workflow.ExecuteActivity(ctx, Where).Get(ctx, &first); err != nil {
		return false, err
	}
	if err := workflow.ExecuteActivity(ctx, Where).Get(ctx, &second); err != nil {
		return false, err
	}
	return first == second, nil
}

// Fails until its third attempt.
func Fails(ctx workflow.Context) (int32, error) {
	attempt := workflow.GetInfo(ctx).Attempt
	if attempt < 3 {
		return 0, temporal.NewApplicationError("not yet", "NotYet")
	}
	return attempt, nil
}

// Sleeper sleeps for as long as it is told.
func Sleeper(ctx workflow.Context, length time.Duration) error {
	return workflow.Sleep(ctx, length)
}

// Step asks an activity, then waits for a signal that a reset must bring along.
func Step(ctx workflow.Context) (string, error) {
	var greeting, item string
	if err := workflow.ExecuteActivity(soon(ctx), Hello, "reset").Get(ctx, &greeting); err != nil {
		return "", err
	}
	workflow.GetSignalChannel(ctx, "add").Receive(ctx, &item)
	return greeting + " " + item, nil
}

// Hello greets.
func Hello(_ context.Context, name string) (string, error) { return "Hello, " + name, nil }

// Flaky succeeds in that attempt; for -1 never.
func Flaky(ctx context.Context, succeeds int) (int, error) {
	if succeeds == -1 {
		return 0, temporal.NewNonRetryableApplicationError("hopeless", "Hopeless", nil)
	}
	attempt := int(activity.GetInfo(ctx).Attempt)
	if attempt < succeeds {
		return 0, errors.New("not yet")
	}
	return attempt, nil
}

// Resumes where its first attempt's heartbeat said it was.
func Resumes(ctx context.Context) (int, error) {
	if !activity.HasHeartbeatDetails(ctx) {
		activity.RecordHeartbeat(ctx, 42)
		return 0, errors.New("interrupted")
	}
	var found int
	err := activity.GetHeartbeatDetails(ctx, &found)
	return found, err
}

// Endless heartbeats until it is cancelled.
func Endless(ctx context.Context) error {
	for {
		activity.RecordHeartbeat(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Later is completed from outside.
func Later(context.Context) (string, error) { return "", activity.ErrResultPending }

// Where tells which task queue it was taken from: a session's own.
func Where(ctx context.Context) (string, error) { return activity.GetInfo(ctx).TaskQueue, nil }
