"""All that runs with privilege: opening listeners, checking who may read what, and the drop.

Runs as root, or with CAP_NET_BIND_SERVICE, until `drop.drop_permanently` has returned. Imports the standard library,
python-prctl, `jvmbind.spec` and `jvmbind.errors`, and nothing else.
"""
