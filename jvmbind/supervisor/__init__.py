"""The supervisor: holds the listeners for the life of the service. Runs as the service user, started by exec."""
