"""The loop that runs everything that has a socket: readiness, timers, deferred calls, and how they are awaited."""
