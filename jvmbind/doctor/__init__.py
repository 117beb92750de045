"""What would make a start fail, or leaves a hole, on this machine: one function a finding, pure where it can be.

Used by `jvmbind doctor`, as any user; nothing of it is loaded by a start. Changes nothing. Must not import jpype.
"""
