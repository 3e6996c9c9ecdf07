"""One consumer child: takes a delivery, asks the Memory API, scores the conversation, acknowledges."""
