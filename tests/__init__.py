"""The suite: one directory per kind of test, and fixtures/ for what they share."""
