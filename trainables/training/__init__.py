"""Training without Ray: a request names a run, a session trains it step by step, a worker turns all that happens into payloads."""
