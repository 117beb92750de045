"""System calls that need no privilege, one mechanism a file.

Runs in every role; imports nothing of the other floors but errors and spec.
"""
