/** What the test files share: a shop that remembers what it was asked, and workers for it. */

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import type { LogEntry, NativeConnection, WorkerOptions } from '@temporalio/worker';
import type { Order, ShopActivities } from './domain';

/** Where `npm run bundle` leaves the workflow code. */
export const BUNDLE = join(__dirname, 'build', 'workflows.js');

/** How long a test may take. */
export const LIMIT = { timeout: 20_000 };

/** What workflows, workers and the SDK's core logged, in the order they did. */
export const logged: LogEntry[] = [];

Runtime.install({
  logger: new DefaultLogger('INFO', (entry) => logged.push(entry)),
  telemetryOptions: { logging: { filter: { core: 'WARN', other: 'WARN' }, forward: {} } },
});

/**
 * Fails if the SDK's core found anything in the server's answers to complain about. That a task is gone, when its
 * workflow is, is no complaint.
 */
export function assertCoreNeverComplained(): void {
  const complaints = logged.filter(
    ({ level, meta, message }) =>
      level !== 'INFO' && meta?.sdkComponent === 'core' && !/^(Task|Activity) not found/.test(message),
  );
  assert.deepEqual(complaints.map((entry) => `${entry.message} ${JSON.stringify(entry.meta)}`), []);
}

/** The path an environment variable names; the tests are started by `tests/sdk/test_typescript.py`, which sets them. */
export function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`set ${name}, or start the tests with pytest`);
  return value;
}

/** A shop in memory, where all goes well but what a test overrides. `asked` lists what it was asked to do. */
export class Shop {
  readonly asked: string[] = [];

  constructor(private readonly overrides: Partial<ShopActivities> = {}) {}

  /** The activities to register with a worker. */
  activities(): ShopActivities {
    const well: ShopActivities = {
      charge: async (order) => `payment-${order.id}`,
      refund: async () => undefined,
      allocate: async () => undefined,
      release: async () => undefined,
      notify: async () => undefined,
      escalate: async () => undefined,
    };
    const { asked, overrides } = this;
    function remembering<A, R>(name: string, what: (argument: A) => string, activity: (argument: A) => Promise<R>) {
      return (argument: A): Promise<R> => {
        asked.push(`${name} ${what(argument)}`);
        return activity(argument);
      };
    }
    const all = { ...well, ...overrides };
    return {
      charge: remembering('charge', (order) => String(order.cents), all.charge),
      refund: remembering('refund', (paymentId) => paymentId, all.refund),
      allocate: remembering('allocate', (order) => order.sku, all.allocate),
      release: remembering('release', (order) => order.sku, all.release),
      notify: remembering('notify', (mail) => mail.kind, all.notify),
      escalate: remembering('escalate', (orderId) => orderId, all.escalate),
    };
  }
}

export function newOrder(more: Partial<Order> = {}): Order {
  return { id: `order-${randomUUID()}`, sku: 'lamp', quantity: 2, cents: 4200, ...more };
}

/** A worker of the order workflows on a task queue of its own, for `shop`. */
export async function shopWorker(
  connection: NativeConnection,
  shop: Shop,
  options: Partial<WorkerOptions> = {},
): Promise<Worker> {
  return await Worker.create({
    connection,
    taskQueue: `orders-${randomUUID()}`,
    workflowBundle: { codePath: BUNDLE },
    activities: shop.activities(),
    shutdownGraceTime: '1 second',
    ...options,
  });
}

/** The types of the events in a workflow's history, in order. */
export async function eventTypes(client: Client, workflowId: string): Promise<string[]> {
  const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
  return (events ?? []).map((event) => event.attributes as string);
}

/** Asks again, at once, until what came back is good; the test's limit ends what never is. */
export async function eventually<T>(ask: () => Promise<T>, good: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (good(answer)) return answer;
  }
}
