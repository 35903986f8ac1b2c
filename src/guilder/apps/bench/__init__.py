"""Measures Guilder against PostgreSQL's own ``pgbench``, on the same server and in the same run.

Nothing here touches the user's data: a server of its own runs in a temporary folder.
"""
