"""Training without Ray: a request names a run, a session trains it, a worker turns all that happens into payloads."""
