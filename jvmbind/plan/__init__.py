"""What is asked for, compared with this machine, before anything is bound: the same for `run`, `check`, `reload` and `restart`.

Runs as the service user where one is named. Must not import jpype.
"""
