/** Workflows: an order from its first post to its last mail. */

import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  condition,
  defineQuery,
  defineSignal,
  isCancellation,
  log,
  ParentClosePolicy,
  proxyActivities,
  proxyLocalActivities,
  setHandler,
  sleep,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';
import { notificationsId, PAYMENT_DECLINED, SHIP_WITHIN_MS } from './domain';
import type { Mail, Order, OrderState, ShopActivities, Status } from './domain';

export const shipped = defineSignal<[trackingNumber: string]>('shipped');
export const cancel = defineSignal<[reason: string]>('cancel');
export const state = defineQuery<OrderState>('state');

const { charge, refund, allocate, release, notify, escalate } = proxyActivities<ShopActivities>({
  startToCloseTimeout: '2 seconds',
  retry: {
    initialInterval: '100 milliseconds',
    backoffCoefficient: 2,
    maximumAttempts: 4,
    nonRetryableErrorTypes: [PAYMENT_DECLINED],
  },
});

/** Charges, allocates, waits for the parcel to leave; undoes what was done when it will not. */
export async function order(order: Order): Promise<OrderState> {
  const current: OrderState = { status: 'received', attempt: workflowInfo().attempt, history: [] };
  let decided = false;

  function enter(status: Status): void {
    current.status = status;
    current.history.push({ status, at: Date.now() });
    log.info('order moved on', { status });
  }

  setHandler(state, () => current);
  setHandler(shipped, (trackingNumber) => {
    if (decided) return;
    decided = true;
    current.trackingNumber = trackingNumber;
  });
  setHandler(cancel, (reason) => {
    if (decided) return;
    decided = true;
    current.reason = reason;
  });

  const undo: (() => Promise<void>)[] = [];
  enter('received');
  try {
    const paymentId = await charge(order);
    current.paymentId = paymentId;
    undo.unshift(() => refund(paymentId));
    enter('charged');
    await allocate(order);
    undo.unshift(() => release(order));
    enter('allocated');
    await notify({ orderId: order.id, kind: 'confirmation' });
    enter('awaiting shipment');
    if (!(await condition(() => decided, order.shipWithinMs ?? SHIP_WITHIN_MS))) {
      await escalate(order.id);
      enter('escalated');
    } else if (current.reason !== undefined) {
      for (const step of undo) await step();
      enter('cancelled');
    } else {
      enter('shipped');
    }
  } catch (failure) {
    if (isCancellation(failure)) {
      // The workflow's own scope is cancelled by now, and with it whatever would be started in it.
      await CancellationScope.nonCancellable(async () => {
        for (const step of undo) await step();
        enter('cancelled');
      });
      throw failure;
    }
    if (!declined(failure)) throw failure;
    enter('declined');
  }
  await startChild(notifications, {
    workflowId: notificationsId(order.id),
    args: [[{ orderId: order.id, kind: current.status }, { orderId: order.id, kind: 'feedback' }]],
    parentClosePolicy: ParentClosePolicy.ABANDON,
  });
  return current;
}

/** Sends mails a day apart, so it outlives the order that started it. Tells whose child it is. */
export async function notifications(mails: Mail[]): Promise<string | undefined> {
  const { parent } = workflowInfo();
  for (const [index, mail] of mails.entries()) {
    if (index > 0) await sleep('1 day');
    await notify(mail);
  }
  return parent?.workflowId;
}

/** Names the limit that ended the only attempt of a charge that takes too long. */
export async function impatientCharge(order: Order, limits: { total: number; silence: number }): Promise<string> {
  const { charge } = proxyActivities<ShopActivities>({
    startToCloseTimeout: limits.total,
    heartbeatTimeout: limits.silence,
    retry: { maximumAttempts: 1 },
  });
  try {
    return await charge(order);
  } catch (failure) {
    if (failure instanceof ActivityFailure) throw ApplicationFailure.nonRetryable(`${failure.cause?.message}`);
    throw failure;
  }
}

/** Charges again an hour after a failure. */
export async function patientCharge(order: Order): Promise<string> {
  const { charge } = proxyActivities<ShopActivities>({
    startToCloseTimeout: '1 minute',
    retry: { initialInterval: '1 hour', backoffCoefficient: 2 },
  });
  return await charge(order);
}

/** Who is done first: the charge, or a timer? */
export async function race(order: Order, timerMs: number): Promise<'charge' | 'timer'> {
  const { charge } = proxyActivities<ShopActivities>({ startToCloseTimeout: '30 days' });
  return await CancellationScope.cancellable(async () => {
    const winner = await Promise.race([
      charge(order).then(() => 'charge' as const),
      sleep(timerMs).then(() => 'timer' as const),
    ]);
    return winner;
  });
}

/** Charges within the workflow task, without a task of its own in the server. */
export async function localCharge(order: Order): Promise<string> {
  const { charge } = proxyLocalActivities<ShopActivities>({ startToCloseTimeout: '5 seconds' });
  return await charge(order);
}

function declined(failure: unknown): boolean {
  return (
    failure instanceof ActivityFailure &&
    failure.cause instanceof ApplicationFailure &&
    failure.cause.type === PAYMENT_DECLINED
  );
}
