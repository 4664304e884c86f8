"""An order system on durable execution: payments, stock, mail and a warehouse, none of which can be half done."""
