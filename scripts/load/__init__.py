"""The load test's parts: scenarios, workers under test, what is read of them, and the report."""
