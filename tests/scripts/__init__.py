"""The development servers and scripts themselves."""
