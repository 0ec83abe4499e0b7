"""What models that read from a datastore of (hidden state, next token) pairs share: the frozen base, the store, the search."""
