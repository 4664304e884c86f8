/** Orders against the test server, launched by the SDK itself: days pass in no time. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Context } from '@temporalio/activity';
import { WorkflowFailedError } from '@temporalio/client';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { notificationsId, SHIP_WITHIN_MS } from './domain';
import { assertCoreNeverComplained, eventTypes, eventually, LIMIT, newOrder, setting, Shop, shopWorker } from './kit';
import * as workflows from './workflows';

const HOUR = 60 * 60 * 1000;
const DAY = 24 * HOUR;

describe('a test server', () => {
  let environment: TestWorkflowEnvironment;

  // One for each test: a mail of the last order that no worker would send any more would keep time from being skipped.
  beforeEach(async () => {
    environment = await TestWorkflowEnvironment.createTimeSkipping({
      server: { executable: { type: 'existing-path', path: setting('PERDURE_TEST_SERVER') } },
    });
  });

  afterEach(async () => {
    await environment.teardown();
    assertCoreNeverComplained();
  });

  /** The virtual milliseconds that pass while `work` runs, which must be done within real seconds. */
  async function virtually(work: () => Promise<unknown>): Promise<number> {
    const [started, startedVirtually] = [Date.now(), await environment.currentTimeMs()];
    await work();
    assert.ok(Date.now() - started < 10_000, 'time was waited for instead of skipped');
    return (await environment.currentTimeMs()) - startedVirtually;
  }

  test('an order that is never shipped is escalated after seven days', LIMIT, async () => {
    const shop = new Shop();
    const worker = await shopWorker(environment.nativeConnection, shop);
    await worker.runUntil(async () => {
      const order = newOrder();
      const handle = await environment.client.workflow.start(workflows.order, {
        args: [order],
        taskQueue: worker.options.taskQueue,
        workflowId: order.id,
      });

      const passed = await virtually(() => handle.result());

      const { status, history } = await handle.result();
      assert.equal(status, 'escalated');
      assert.ok(shop.asked.includes(`escalate ${order.id}`));
      assert.ok(passed >= SHIP_WITHIN_MS && passed < SHIP_WITHIN_MS + DAY, `${passed / DAY} days passed`);
      const [awaiting, escalated] = history.slice(-2).map(({ at }) => at);
      const waited = escalated! - awaiting!;
      assert.ok(waited >= SHIP_WITHIN_MS && waited < SHIP_WITHIN_MS + HOUR, `the workflow waited ${waited / DAY} days`);
      assert.ok((await eventTypes(environment.client, order.id)).includes('timerFiredEventAttributes'));
    });
  });

  test('an order shipped after three days has waited three days', LIMIT, async () => {
    const worker = await shopWorker(environment.nativeConnection, new Shop());
    await worker.runUntil(async () => {
      const order = newOrder();
      const handle = await environment.client.workflow.start(workflows.order, {
        args: [order],
        taskQueue: worker.options.taskQueue,
        workflowId: order.id,
      });
      await eventually(() => handle.query(workflows.state), ({ status }) => status === 'awaiting shipment');

      const passed = await virtually(() => environment.sleep('3 days'));
      assert.equal((await handle.query(workflows.state)).status, 'awaiting shipment');
      await handle.signal(workflows.shipped, 'parcel-8');
      const { status, history } = await handle.result();

      assert.equal(status, 'shipped');
      assert.ok(passed >= 3 * DAY && passed < 3 * DAY + HOUR, `${passed / DAY} days passed`);
      const [awaiting, shipped] = history.slice(-2).map(({ at }) => at);
      const waited = shipped! - awaiting!;
      assert.ok(waited >= 3 * DAY && waited < 3 * DAY + HOUR, `the workflow waited ${waited / DAY} days`);
    });
  });

  test('the mails of an abandoned child go out a day apart, after their order has closed', LIMIT, async () => {
    const shop = new Shop();
    const worker = await shopWorker(environment.nativeConnection, shop);
    await worker.runUntil(async () => {
      const order = newOrder();
      await environment.client.workflow.execute(workflows.order, {
        args: [order],
        taskQueue: worker.options.taskQueue,
        workflowId: order.id,
      });
      const child = environment.client.workflow.getHandle<typeof workflows.notifications>(notificationsId(order.id));

      const passed = await virtually(async () => assert.equal(await child.result(), order.id));

      assert.deepEqual(shop.asked.slice(-2), ['notify escalated', 'notify feedback']);
      assert.ok(passed >= DAY && passed < DAY + HOUR, `${passed / HOUR} hours passed`);
    });
  });

  test('hours between the attempts of a charge are skipped', LIMIT, async () => {
    const shop = new Shop({
      charge: async () => {
        const { attempt } = Context.current().info;
        if (attempt < 4) throw new Error('the line is busy');
        return `payment-${attempt}`;
      },
    });
    const worker = await shopWorker(environment.nativeConnection, shop);
    await worker.runUntil(async () => {
      const order = newOrder();

      const passed = await virtually(async () => {
        const result = await environment.client.workflow.execute(workflows.patientCharge, {
          args: [order],
          taskQueue: worker.options.taskQueue,
          workflowId: order.id,
        });
        assert.equal(result, 'payment-4');
      });

      assert.ok(passed >= 7 * HOUR && passed < 8 * HOUR, `${passed / HOUR} hours passed`);
    });
  });

  for (const [winner, timer] of [
    ['charge', 3 * DAY],
    ['timer', DAY],
  ] as const) {
    test(`a charge of two days against a timer of ${timer / DAY}: the ${winner} wins`, LIMIT, async () => {
      const shop = new Shop({
        charge: async () => {
          await environment.sleep('2 days');
          return 'payment';
        },
      });
      const worker = await shopWorker(environment.nativeConnection, shop);
      await worker.runUntil(async () => {
        const order = newOrder();

        const passed = await virtually(async () => {
          const result = await environment.client.workflow.execute(workflows.race, {
            args: [order, timer],
            taskQueue: worker.options.taskQueue,
            workflowId: order.id,
          });
          assert.equal(result, winner);
        });

        assert.ok(passed >= Math.min(timer, 2 * DAY), `${passed / HOUR} hours passed`);
      });
    });
  }

  test('a charge that is silent for an hour ends by its heartbeat timeout', LIMIT, async () => {
    const shop = new Shop({
      charge: async () => {
        await environment.sleep('1 hour');
        return 'too late';
      },
    });
    const worker = await shopWorker(environment.nativeConnection, shop);
    await worker.runUntil(async () => {
      const order = newOrder();
      const handle = await environment.client.workflow.start(workflows.impatientCharge, {
        args: [order, { total: DAY, silence: 10 * 60 * 1000 }],
        taskQueue: worker.options.taskQueue,
        workflowId: order.id,
      });

      await assert.rejects(handle.result(), (error) => {
        assert.ok(error instanceof WorkflowFailedError);
        assert.equal(error.cause?.message, 'activity Heartbeat timeout');
        return true;
      });
    });
  });

  test('time does not pass by skipping while a charge is at work', LIMIT, async () => {
    const shop = new Shop({
      charge: async () => {
        const started = await environment.currentTimeMs();
        await new Promise((resolve) => setImmediate(resolve));
        assert.ok((await environment.currentTimeMs()) - started < HOUR);
        return 'payment';
      },
    });
    const worker = await shopWorker(environment.nativeConnection, shop);
    await worker.runUntil(async () => {
      const order = newOrder();

      const result = await environment.client.workflow.execute(workflows.race, {
        args: [order, 10 * DAY],
        taskQueue: worker.options.taskQueue,
        workflowId: order.id,
      });

      assert.equal(result, 'charge');
    });
  });
});
