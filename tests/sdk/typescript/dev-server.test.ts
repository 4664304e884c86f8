/** Orders against a development server that is already running, as an application's worker and client would. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { CompleteAsyncError, Context } from '@temporalio/activity';
import { Client, Connection, WorkflowExecutionAlreadyStartedError, WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure, CancelledFailure, TerminatedFailure, TimeoutFailure } from '@temporalio/common';
import { NativeConnection, Worker } from '@temporalio/worker';
import { notificationsId, PAYMENT_DECLINED } from './domain';
import {
  assertCoreNeverComplained,
  BUNDLE,
  eventTypes,
  eventually,
  LIMIT,
  logged,
  newOrder,
  setting,
  Shop,
  shopWorker,
} from './kit';
import * as workflows from './workflows';

describe('a development server', () => {
  let connection: Connection;
  let native: NativeConnection;
  let client: Client;

  before(async () => {
    const address = setting('PERDURE_ADDRESS');
    connection = await Connection.connect({ address });
    native = await NativeConnection.connect({ address });
    client = new Client({ connection });
  });

  after(async () => {
    await connection.close();
    await native.close();
    assertCoreNeverComplained();
  });

  /** Starts an order and waits until it awaits its shipment. */
  async function awaitingShipment(worker: Worker, order = newOrder()) {
    const handle = await client.workflow.start(workflows.order, {
      args: [order],
      taskQueue: worker.options.taskQueue,
      workflowId: order.id,
    });
    await eventually(() => handle.query(workflows.state), ({ status }) => status === 'awaiting shipment');
    return { order, handle };
  }

  test('an order is charged, allocated and shipped, and can be queried after its end', LIMIT, async () => {
    const shop = new Shop();
    const worker = await shopWorker(native, shop);
    await worker.runUntil(async () => {
      const { order, handle } = await awaitingShipment(worker);

      await handle.signal(workflows.shipped, 'parcel-1');
      const result = await handle.result();

      assert.equal(result.status, 'shipped');
      assert.equal(result.trackingNumber, 'parcel-1');
      assert.equal(result.paymentId, `payment-${order.id}`);
      assert.deepEqual(
        result.history.map(({ status }) => status),
        ['received', 'charged', 'allocated', 'awaiting shipment', 'shipped'],
      );
      assert.deepEqual(shop.asked.slice(0, 3), ['charge 4200', 'allocate lamp', 'notify confirmation']);
      assert.deepEqual(await handle.query(workflows.state), result);
      const description = await handle.describe();
      assert.equal(description.status.name, 'COMPLETED');
      assert.equal(description.type, 'order');
      assert.equal(description.historyLength, (await handle.fetchHistory()).events?.length);
    });
  });

  test("the workflow's log reaches the worker's logger", LIMIT, async () => {
    const worker = await shopWorker(native, new Shop());
    const { order } = await worker.runUntil(() => awaitingShipment(worker));

    const statuses = logged.filter(({ meta }) => meta?.workflowId === order.id).map(({ meta }) => meta?.status);

    assert.deepEqual(statuses, ['received', 'charged', 'allocated', 'awaiting shipment']);
  });

  test('an abandoned child outlives the order and names it as its parent', LIMIT, async () => {
    const worker = await shopWorker(native, new Shop());
    await worker.runUntil(async () => {
      const { order, handle } = await awaitingShipment(worker);
      await handle.signal(workflows.shipped, 'parcel-2');
      await handle.result();

      const child = client.workflow.getHandle<typeof workflows.notifications>(notificationsId(order.id));
      const description = await child.describe();

      assert.equal(description.status.name, 'RUNNING');
      assert.deepEqual(description.parentExecution, { workflowId: order.id, runId: (await handle.describe()).runId });
      await child.terminate('seen enough');
      await assert.rejects(child.result(), (error) => failedFor(error, TerminatedFailure).message === 'seen enough');
    });
  });

  test('a cancel signal undoes what was done, newest first', LIMIT, async () => {
    const shop = new Shop();
    const worker = await shopWorker(native, shop);
    await worker.runUntil(async () => {
      const { order, handle } = await awaitingShipment(worker);

      await handle.signal(workflows.cancel, 'changed my mind');
      const result = await handle.result();

      assert.equal(result.status, 'cancelled');
      assert.equal(result.reason, 'changed my mind');
      assert.deepEqual(shop.asked.slice(3, 5), ['release lamp', `refund payment-${order.id}`]);
    });
  });

  test('a cancelled workflow undoes what was done and ends as cancelled', LIMIT, async () => {
    const shop = new Shop();
    const worker = await shopWorker(native, shop);
    await worker.runUntil(async () => {
      const { order, handle } = await awaitingShipment(worker);

      await handle.cancel();

      await assert.rejects(handle.result(), (error) => failedFor(error, CancelledFailure) !== undefined);
      assert.deepEqual(shop.asked.slice(3), ['release lamp', `refund payment-${order.id}`]);
      assert.equal((await handle.describe()).status.name, 'CANCELLED');
      assert.ok((await eventTypes(client, order.id)).includes('timerCanceledEventAttributes'));
    });
  });

  test('an order that nobody ships in time is escalated', LIMIT, async () => {
    const shop = new Shop();
    const worker = await shopWorker(native, shop);
    await worker.runUntil(async () => {
      const order = newOrder({ shipWithinMs: 100 });

      const result = await client.workflow.execute(workflows.order, {
        args: [order],
        taskQueue: worker.options.taskQueue,
        workflowId: order.id,
      });

      assert.equal(result.status, 'escalated');
      assert.ok(shop.asked.includes(`escalate ${order.id}`));
    });
  });

  test('a charge that fails is tried again until it succeeds', LIMIT, async () => {
    const attempts: number[] = [];
    const shop = new Shop({
      charge: async () => {
        const { attempt } = Context.current().info;
        attempts.push(attempt);
        if (attempt < 3) throw new Error('the line is busy');
        return `payment-${attempt}`;
      },
    });
    const worker = await shopWorker(native, shop);
    await worker.runUntil(async () => {
      const { order, handle } = await awaitingShipment(worker);

      assert.deepEqual(attempts, [1, 2, 3]);
      assert.equal((await handle.query(workflows.state)).paymentId, 'payment-3');
      const { events } = await handle.fetchHistory();
      const started = events?.find((event) => event.activityTaskStartedEventAttributes);
      assert.equal(started?.activityTaskStartedEventAttributes?.attempt, 3);
      assert.equal(started?.activityTaskStartedEventAttributes?.lastFailure?.message, 'the line is busy');
      await client.workflow.getHandle(order.id).terminate();
    });
  });

  test('a declined payment is not tried again', LIMIT, async () => {
    const shop = new Shop({
      charge: async () => {
        throw ApplicationFailure.create({ message: 'no money', type: PAYMENT_DECLINED });
      },
    });
    const worker = await shopWorker(native, shop);
    await worker.runUntil(async () => {
      const order = newOrder();

      const result = await client.workflow.execute(workflows.order, {
        args: [order],
        taskQueue: worker.options.taskQueue,
        workflowId: order.id,
      });

      assert.equal(result.status, 'declined');
      assert.deepEqual(shop.asked.filter((asked) => asked.startsWith('charge')), ['charge 4200']);
    });
  });

  for (const [limit, limits] of [
    ['StartToClose', { total: 200, silence: 10_000 }],
    ['Heartbeat', { total: 10_000, silence: 200 }],
  ] as const) {
    test(`a charge that takes too long ends by its ${limit} timeout`, LIMIT, async () => {
      const shop = new Shop({ charge: async () => await never() });
      const worker = await shopWorker(native, shop);
      await worker.runUntil(async () => {
        const order = newOrder();
        const handle = await client.workflow.start(workflows.impatientCharge, {
          args: [order, limits],
          taskQueue: worker.options.taskQueue,
          workflowId: order.id,
        });

        await assert.rejects(handle.result(), (error) => {
          assert.equal(failedFor(error, ApplicationFailure).message, `activity ${limit} timeout`);
          return true;
        });
      });
    });
  }

  test('a workflow that nobody works on ends by its run timeout', LIMIT, async () => {
    const order = newOrder();

    const handle = await client.workflow.start(workflows.order, {
      args: [order],
      taskQueue: 'nobody-listens-here',
      workflowId: order.id,
      workflowRunTimeout: '100 milliseconds',
    });

    await assert.rejects(handle.result(), (error) => failedFor(error, TimeoutFailure) !== undefined);
  });

  test('a second order of the same ID is refused', LIMIT, async () => {
    const order = newOrder();
    const options = { args: [order] as [typeof order], taskQueue: 'nobody-listens-here', workflowId: order.id };
    const handle = await client.workflow.start(workflows.order, options);

    await assert.rejects(client.workflow.start(workflows.order, options), WorkflowExecutionAlreadyStartedError);

    await handle.terminate();
  });

  test('a shipment can arrive before its order', LIMIT, async () => {
    const worker = await shopWorker(native, new Shop());
    await worker.runUntil(async () => {
      const order = newOrder();

      const handle = await client.workflow.signalWithStart(workflows.order, {
        args: [order],
        taskQueue: worker.options.taskQueue,
        workflowId: order.id,
        signal: workflows.shipped,
        signalArgs: ['parcel-3'],
      });

      assert.equal((await handle.result()).trackingNumber, 'parcel-3');
    });
  });

  test('a charge is completed from outside by its task token', LIMIT, async () => {
    let tell: (token: Uint8Array) => void;
    const token = new Promise<Uint8Array>((resolve) => (tell = resolve));
    const shop = new Shop({
      charge: async () => {
        tell(Context.current().info.taskToken);
        throw new CompleteAsyncError();
      },
    });
    const worker = await shopWorker(native, shop);
    await worker.runUntil(async () => {
      const order = newOrder();
      const handle = await client.workflow.start(workflows.patientCharge, {
        args: [order],
        taskQueue: worker.options.taskQueue,
        workflowId: order.id,
      });

      await client.activity.complete(await token, 'paid at the till');

      assert.equal(await handle.result(), 'paid at the till');
    });
  });

  test('a local charge leaves a marker instead of an activity', LIMIT, async () => {
    const worker = await shopWorker(native, new Shop());
    await worker.runUntil(async () => {
      const order = newOrder();

      const result = await client.workflow.execute(workflows.localCharge, {
        args: [order],
        taskQueue: worker.options.taskQueue,
        workflowId: order.id,
      });

      assert.equal(result, `payment-${order.id}`);
      assert.deepEqual((await eventTypes(client, order.id)).slice(3), [
        'workflowTaskCompletedEventAttributes',
        'markerRecordedEventAttributes',
        'workflowExecutionCompletedEventAttributes',
      ]);
    });
  });

  test('orders are worked on without a cache, from their whole history', LIMIT, async () => {
    const worker = await shopWorker(native, new Shop(), { maxCachedWorkflows: 0 });
    await worker.runUntil(async () => {
      const order = newOrder();
      const handle = await client.workflow.start(workflows.order, {
        args: [order],
        taskQueue: worker.options.taskQueue,
        workflowId: order.id,
      });
      // Looks at the history, not by query: an SDK without a cache drops a workflow task that meets a query.
      await eventually(
        () => eventTypes(client, order.id),
        (types) => types.includes('timerStartedEventAttributes'),
      );

      await handle.signal(workflows.shipped, 'parcel-4');

      assert.equal((await handle.result()).status, 'shipped');
    });
  });

  test('an order goes on with another worker when its first one is gone', LIMIT, async () => {
    const first = await shopWorker(native, new Shop());
    const { handle } = await first.runUntil(() => awaitingShipment(first));

    await handle.signal(workflows.shipped, 'parcel-5');
    const second = await shopWorker(native, new Shop(), { taskQueue: first.options.taskQueue });
    const result = await second.runUntil(() => handle.result());

    assert.equal(result.trackingNumber, 'parcel-5');
  });

  test('the history of an order replays', LIMIT, async () => {
    const worker = await shopWorker(native, new Shop());
    await worker.runUntil(async () => {
      const { order, handle } = await awaitingShipment(worker);
      await handle.signal(workflows.cancel, 'to see it replayed');
      await handle.result();

      await Worker.runReplayHistory({ workflowBundle: { codePath: BUNDLE } }, await handle.fetchHistory(), order.id);
    });
  });

  test('orders are listed and counted', LIMIT, async () => {
    const worker = await shopWorker(native, new Shop());
    await worker.runUntil(async () => {
      const ids: string[] = [];
      for (let number = 0; number < 3; number += 1) {
        const { order, handle } = await awaitingShipment(worker);
        ids.push(order.id);
        await handle.signal(workflows.shipped, `parcel-${number}`);
        await handle.result();
      }
      const query = `TaskQueue = '${worker.options.taskQueue}' AND WorkflowType = 'order'`;

      const listed: string[] = [];
      for await (const { workflowId, status } of client.workflow.list({ query, pageSize: 2 })) {
        assert.equal(status.name, 'COMPLETED');
        listed.push(workflowId);
      }

      assert.deepEqual(listed, ids.reverse());
      assert.equal((await client.workflow.count(`${query} AND ExecutionStatus = 'Completed'`)).count, 3);
    });
  });
});

/** The failure a workflow ended with, which must be of the given kind. */
function failedFor<F extends Error>(error: unknown, kind: new (...args: never[]) => F): F {
  assert.ok(error instanceof WorkflowFailedError, `${error} is no failure of a workflow`);
  assert.ok(error.cause instanceof kind, `the workflow failed for another reason: ${error.cause}`);
  return error.cause;
}

/** Returns when the activity is cancelled, and not before. */
async function never(): Promise<never> {
  return await Context.current().cancelled;
}
