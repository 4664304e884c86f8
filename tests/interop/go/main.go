// Interop runs the official Go SDK, unmodified, against a running server: a worker, a client, a story for each feature.
//
// PERDURE_ADDRESS is the server on the wall clock, PERDURE_SKIPPING_ADDRESS one whose time skips, PERDURE_UNSERVED the
// RPCs that the server does not claim to serve, separated by commas. A story that needs one of those is not told.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
)

const (
	atOnce       = 6
	storySeconds = 30
)

// World is what a story is told in: a connected client and a worker on a task queue.
type World struct {
	client.Client
	queue    string
	skipping string
}

type story struct {
	name  string
	needs string // RPCs, separated by spaces
	tell  func(context.Context, *World) error
}

type outcome struct {
	word   string
	detail string
	took   time.Duration
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	connection, err := client.Dial(client.Options{HostPort: os.Getenv("PERDURE_ADDRESS"), Logger: quiet()})
	if err != nil {
		return err
	}
	defer connection.Close()
	world := &World{Client: connection, queue: unique("go"), skipping: os.Getenv("PERDURE_SKIPPING_ADDRESS")}
	work := worker.New(connection, world.queue, worker.Options{EnableSessionWorker: true})
	register(work)
	if err := work.Start(); err != nil {
		return err
	}
	defer work.Stop()

	unserved := map[string]bool{}
	for _, rpc := range strings.Split(os.Getenv("PERDURE_UNSERVED"), ",") {
		unserved[rpc] = true
	}
	outcomes := tellAll(world, unserved)

	failed := 0
	for at, told := range stories {
		this := outcomes[at]
		fmt.Printf("  %-56s %-9s %5.1f s  %s\n", told.name, this.word, this.took.Seconds(), this.detail)
		if this.word == "failed" {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d stories failed", failed, len(stories))
	}
	return nil
}

func tellAll(world *World, unserved map[string]bool) []outcome {
	outcomes := make([]outcome, len(stories))
	room := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for at := range stories {
		all.Add(1)
		go func() {
			defer all.Done()
			room <- struct{}{}
			defer func() { <-room }()
			outcomes[at] = tell(world, stories[at], unserved)
		}()
	}
	all.Wait()
	return outcomes
}

func tell(world *World, told story, unserved map[string]bool) outcome {
	for _, rpc := range strings.Fields(told.needs) {
		if unserved[rpc] {
			return outcome{word: "unserved", detail: "the server has no " + rpc}
		}
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), storySeconds*time.Second)
	defer cancel()
	if err := told.tell(ctx, world); err != nil {
		return outcome{word: "failed", detail: err.Error(), took: time.Since(began)}
	}
	return outcome{word: "ok", took: time.Since(began)}
}

// quiet keeps what workers say of failures that stories cause on purpose.
func quiet() sdklog.Logger {
	if os.Getenv("PERDURE_VERBOSE") != "" {
		return sdklog.NewStructuredLogger(slog.Default())
	}
	return sdklog.NewStructuredLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
}

func unique(name string) string {
	return name + "-" + uuid.NewString()[:8]
}

// want is nil when both print the same.
func want(what string, got, wanted any) error {
	if fmt.Sprint(got) == fmt.Sprint(wanted) {
		return nil
	}
	return fmt.Errorf("%s: got %v, wanted %v", what, got, wanted)
}

// wantError is nil when err is an error of that type.
func wantError[T error](err error) error {
	var wanted T
	if errors.As(err, &wanted) {
		return nil
	}
	return fmt.Errorf("got %T (%v), wanted %T", err, err, wanted)
}

// until asks again, a little later, until the answer is true.
func until(ctx context.Context, what string, ask func() (bool, error)) error {
	for {
		done, err := ask()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("never came: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// result runs a workflow to its end.
func result[T any](ctx context.Context, world *World, workflow any, args ...any) (T, error) {
	var value T
	started, err := world.start(ctx, workflow, args...)
	if err != nil {
		return value, err
	}
	return value, started.Get(ctx, &value)
}

func (world *World) options() client.StartWorkflowOptions {
	return client.StartWorkflowOptions{ID: unique("go"), TaskQueue: world.queue, WorkflowExecutionTimeout: time.Minute}
}

func (world *World) start(ctx context.Context, workflow any, args ...any) (client.WorkflowRun, error) {
	return world.ExecuteWorkflow(ctx, world.options(), workflow, args...)
}

func (world *World) query(ctx context.Context, run client.WorkflowRun, name string) (string, error) {
	value, err := world.QueryWorkflow(ctx, run.GetID(), run.GetRunID(), name)
	if err != nil {
		return "", err
	}
	var answer string
	return answer, value.Get(&answer)
}
