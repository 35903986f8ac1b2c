"""Tells machines of customers what happened, by signed HTTP requests to addresses they registered.

Glossary
    endpoint: an address that somebody registered, with the events it wants and its secret.
    delivery: one event on its way to one endpoint. Its id is the ``webhook-id`` and never changes.
    attempt: one request for a delivery, with what came back.
    line: the deliveries of one key (the aggregate) to one endpoint. Only the first is sent.
    to skip: an event that an endpoint wanted while it was disabled; a replay sends it.
    lease: how long a worker may hold a delivery. After it, another takes it, and the fence that
        was raised then keeps the first from writing down what it thinks happened.

Invariants
    An event becomes at most one delivery to an endpoint, and reaches only its own people.
    Of a line at most one delivery is due; the others wait until it was delivered or given up.
    Whoever writes into an endpoint's deliveries holds the lock of the endpoint's row.
    A secret is shown when it is made, and stored sealed.
"""
