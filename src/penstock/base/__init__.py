"""What every room stands on: context, ids, clock, errors, settings, tasks, telemetry, and nothing else, ever.

Nothing comes in and nothing goes out: these modules hold vocabulary (who is calling, what an id may look like, which
reaction an error asks for) and the few mechanisms that must be the same everywhere (time, configuration, supervised
tasks, logs, spans and metrics). Anything that knows of a message, a table or a server belongs on a higher floor.
"""
