"""A service for a Python program: started as a child of it, or found as one that runs already.

Runs in any program, with any number of threads and with whatever privilege it has and keeps. The names that a program uses
are those of `jvmbind` itself. Must not import jpype, nor anything of the supervisor or the worker.
"""
