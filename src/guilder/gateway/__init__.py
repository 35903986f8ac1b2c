"""The one public entrance: every context's routes under both spellings, in one process or many.

Words: a *spelling* is one of the two paths of a route (by resource, by service); an *upstream* is
a context that runs elsewhere; the *client* is who sent the request, whatever proxies lie between.

Always true: a header about forwarding that reaches a context was written by the gateway; a path
means the same route for everyone; a request that is refused here never reaches a context.
"""
