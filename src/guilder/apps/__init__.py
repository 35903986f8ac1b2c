"""Where everything is put together: one process or many, the server, the command line."""
