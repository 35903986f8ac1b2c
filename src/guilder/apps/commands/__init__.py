"""The commands, one a file. A file's name is the command's, and its ``register`` adds it."""
