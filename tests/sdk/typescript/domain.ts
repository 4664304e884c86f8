/** What the shop's workflows, activities and clients say to each other. */

export interface Order {
  id: string;
  sku: string;
  quantity: number;
  cents: number;
  /** How long the warehouse may take; seven days unless the order says otherwise. */
  shipWithinMs?: number;
}

export type Status =
  | 'received'
  | 'charged'
  | 'allocated'
  | 'awaiting shipment'
  | 'shipped'
  | 'declined'
  | 'cancelled'
  | 'escalated';

export interface OrderState {
  status: Status;
  attempt: number;
  paymentId?: string;
  trackingNumber?: string;
  reason?: string;
  /** Each status the order was in, with the workflow's time of entering it (milliseconds since 1970). */
  history: { status: Status; at: number }[];
}

export interface Mail {
  orderId: string;
  kind: string;
}

export const SHIP_WITHIN_MS = 7 * 24 * 60 * 60 * 1000;

/** The failure type of a payment that no retry will make good. */
export const PAYMENT_DECLINED = 'PaymentDeclined';

/** The ID of the workflow that sends the last mails of an order. */
export function notificationsId(orderId: string): string {
  return `notifications/${orderId}`;
}

/** What the workflows ask of the outside. The tests pass shops of their own making. */
export interface ShopActivities {
  charge(order: Order): Promise<string>;
  refund(paymentId: string): Promise<void>;
  allocate(order: Order): Promise<void>;
  release(order: Order): Promise<void>;
  notify(mail: Mail): Promise<void>;
  escalate(orderId: string): Promise<void>;
}
