"""Parts of scripts/bench_memory.py: who is compared, how figures are taken, and how they are shown."""
