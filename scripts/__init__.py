"""Tools for working on friendship-supervisor; nothing here is installed with it."""
