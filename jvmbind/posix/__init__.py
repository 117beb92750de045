"""System calls that need no privilege, one mechanism a file. Runs as the service user; imports nothing of the other floors but errors and spec."""
