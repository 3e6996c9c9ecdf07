"""The status process: it reads what supervisor and children have written down, and answers HTTP.

Nothing here is imported by the supervisor itself, which only forks the process and replaces it when it ends.
"""
