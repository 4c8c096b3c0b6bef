"""What is timed: each contestant is a process of its own, and computes only when it is told to."""
