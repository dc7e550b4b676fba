"""Shipped for authors of key services: the promises of `sealing.ports.KeyService` as tests.

What comes in is a way to open a service; each test says one promise. No server is started here.
"""
