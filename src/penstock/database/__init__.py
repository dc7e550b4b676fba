"""Postgres: one pool per process, transactions bound to a role and its tenants, migrations per room.

In come SQL with bound parameters and the migration files of rooms; what is decided here is who a transaction runs as,
what it may see, how long it may take, and which reaction a failure of the server asks for; out go rows. What a table
means, and every SQL statement about it, belongs to the room that owns the table. psycopg is imported here only.
"""
