"""The worker: one process with CPython and one JVM. Runs as the service user, started by exec."""
