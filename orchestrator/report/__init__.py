"""Tables and figures of finished or running sweeps, from their records alone."""
