"""The text of systemd units for a service: pure, and read by nobody but systemd and people.

Used by `jvmbind unit`, as any user; nothing of it is loaded by a start. Must not read files or run programs.
"""
