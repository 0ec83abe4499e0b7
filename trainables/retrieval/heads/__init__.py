"""What decides how much the neighbours of a token count: a weight by distance, an adapter, and what they are fitted on."""
