/** The SDK's own launcher of development servers, told to use Perdure's executable. */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { defineSearchAttributeKey } from '@temporalio/common';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import type { LocalTestWorkflowEnvironmentOptions } from '@temporalio/testing';
import { assertCoreNeverComplained, eventually, LIMIT, newOrder, setting, Shop, shopWorker } from './kit';
import * as workflows from './workflows';

type ServerOptions = NonNullable<LocalTestWorkflowEnvironmentOptions['server']>;

describe('a local environment', () => {
  /** Launches a server for the length of `use`. */
  async function launched(
    options: ServerOptions,
    use: (environment: TestWorkflowEnvironment) => Promise<void>,
  ): Promise<void> {
    const environment = await TestWorkflowEnvironment.createLocal({
      server: { executable: { type: 'existing-path', path: setting('PERDURE') }, ...options },
    });
    try {
      await use(environment);
    } finally {
      await environment.teardown();
    }
    assertCoreNeverComplained();
  }

  test('an order is shipped in the namespace the server was launched with', LIMIT, async () => {
    await launched({ namespace: 'shop' }, async ({ client, connection, nativeConnection }) => {
      const worker = await shopWorker(nativeConnection, new Shop(), { namespace: 'shop' });
      await worker.runUntil(async () => {
        const order = newOrder();

        const handle = await client.workflow.signalWithStart(workflows.order, {
          args: [order],
          taskQueue: worker.options.taskQueue,
          workflowId: order.id,
          signal: workflows.shipped,
          signalArgs: ['parcel-6'],
        });

        assert.equal((await handle.result()).status, 'shipped');
        const { namespaces } = await connection.workflowService.listNamespaces({});
        assert.ok(namespaces?.some(({ namespaceInfo }) => namespaceInfo?.name === 'shop'));
      });
    });
  });

  test('orders are found by a search attribute the server was launched with', LIMIT, async () => {
    const region = defineSearchAttributeKey('Region', 'KEYWORD');
    await launched({ searchAttributes: [region] }, async ({ client }) => {
      const order = newOrder();
      const handle = await client.workflow.start(workflows.order, {
        args: [order],
        taskQueue: 'nobody-listens-here',
        workflowId: order.id,
        typedSearchAttributes: [{ key: region, value: 'north' }],
      });

      const { count } = await client.workflow.count("Region = 'north'");

      assert.equal(count, 1);
      assert.equal((await handle.describe()).typedSearchAttributes.get(region), 'north');
    });
  });

  test('an order outlives its server, kept in a file', LIMIT, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'perdure-'));
    const dbFilename = join(directory, 'orders.db');
    const order = newOrder();
    const taskQueue = 'orders';
    try {
      await launched({ dbFilename }, async ({ client, nativeConnection }) => {
        const worker = await shopWorker(nativeConnection, new Shop(), { taskQueue });
        await worker.runUntil(async () => {
          const handle = await client.workflow.start(workflows.order, {
            args: [order],
            taskQueue,
            workflowId: order.id,
          });
          await eventually(() => handle.query(workflows.state), ({ status }) => status === 'awaiting shipment');
        });
      });

      await launched({ dbFilename }, async ({ client, nativeConnection }) => {
        const worker = await shopWorker(nativeConnection, new Shop(), { taskQueue });
        await worker.runUntil(async () => {
          const handle = client.workflow.getHandle<typeof workflows.order>(order.id);
          await handle.signal(workflows.shipped, 'parcel-7');

          assert.equal((await handle.result()).trackingNumber, 'parcel-7');
        });
      });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
