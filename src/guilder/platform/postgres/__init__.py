"""PostgreSQL: the embedded server and its supervisor, the ways in, roles and migrations.

The embedded server's programs come from a wheel. Nothing outside its data folder is changed: no
operating-system user is added, no permission is touched. Every durability setting is on.
"""
