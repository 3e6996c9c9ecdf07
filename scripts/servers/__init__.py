"""Private servers for tests, the demo and load tests: RabbitMQ, PostgreSQL and a stand-in for the Memory API.

They listen on free loopback ports, keep everything in one temporary directory, share nothing with
servers of the system or with each other, and are gone when whoever started them is gone.
"""
