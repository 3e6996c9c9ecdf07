"""A rehearsal: what a child does, done by the parent before it forks, against a scripted peer.

Theory of operation. A process that is forked shares its parent's pages until it writes to them, and running Python code
writes: the interpreter specialises bytecode and fills caches beside it, types get their method caches, libraries build
tables at their first use. Each child would do all of that in pages of its own. So the parent runs the child's very code
first (`consumer.child.Child.live`), some rounds of it, before it freezes the collector and forks; what is written once
is then written in pages that all share.

The parent opens no connection to real servers, which may be away. It plays to a *prompter*: a process, forked for the
rehearsal and killed at its end, that says as much of a broker, a database and a Memory API on a loopback port each as
their clients need to hear.

    play.py        the rehearsal: prompter up, rounds, prompter gone
    gathering.py   code that runs, brought together in memory before it is rehearsed
    understudy.py  the runtime of a child that stops after the last line
    prompter.py    the process behind the ports
    broker.py, database.py, api.py
                   what it says: bytes in, bytes out, no socket
"""
