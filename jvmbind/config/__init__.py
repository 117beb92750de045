"""The configuration: TOML text, command line or keyword arguments -> one Request, every value checked by one table.

Runs with whatever privilege the caller has, before anything is bound, and in the supervisor when a reload reads the file
again. Standard library only; knows spec and errors and nothing else of jvmbind.
"""
