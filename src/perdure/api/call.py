"""The caller as handlers see it; kept at the bottom of the tree (`perdure.call`) because the runtime answers it too."""

from perdure.call import PENDING, Call, Handler, Pending, Reply, Waiter

__all__ = ["PENDING", "Call", "Handler", "Pending", "Reply", "Waiter"]
