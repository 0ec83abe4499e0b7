"""A running sweep: its folder, its state (rebuilt from the record) and the controller that every executor drives."""
