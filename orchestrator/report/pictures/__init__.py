"""The pictures of a report, one a file; each draws one PNG, or says that there is nothing to draw."""
