"""What the scenarios are written with: the gateway as a process, a recording backend, raw clients."""
