"""The HTTP listener and the probes that every role answers alike."""
