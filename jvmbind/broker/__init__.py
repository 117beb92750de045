"""The broker: binds ports for users who may have them by root's policy, and hands the sockets over.

`serve` runs as a service of its own, with CAP_NET_BIND_SERVICE alone; `policy`, `files` and `message` are what it needs for
that. `client` asks it, as the user of a service. `review` and `convert` are for the command line, and never in the service.
"""
