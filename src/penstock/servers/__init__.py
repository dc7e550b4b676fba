"""Embedded servers: nats-server and Postgres from their wheels, run for one data folder, and what `doctor` looks at.

In come settings and a data folder; decided here is which user a server runs as, on which port or socket, whether one
that was left behind is adopted or stopped, and when the disk is too full to take more in; out go endpoints with
credentials. What is said to the servers belongs to `spine` and `database`; the process that runs roles to `app`.
"""
