"""An app that crashes before it listens."""

raise SystemExit("this app has lost its way")
