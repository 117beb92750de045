"""The hand-over of listeners at bind(2), in the process that answers for a JVM: the responder and all that it knows."""
