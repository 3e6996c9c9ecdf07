"""How a supervisor stands, drawn for a terminal: the whole, its children, what happened."""
