"""What `publish` is made of: files cut into entries, how far a run came, its pace, the doors that logs go through."""
