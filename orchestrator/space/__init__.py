"""What a sweep searches: dimensions, values, entries, hard constraints and the set of structures that meets them."""
