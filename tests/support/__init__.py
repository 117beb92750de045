"""What the tests of several folders share: waiting, network namespaces, /proc, services, JDKs, artifacts.

Run by pytest as whoever runs it (most callers need root). Imports nothing of jvmbind: the product is only
ever started as a command, in child processes.
"""
