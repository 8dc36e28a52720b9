"""What a running process says of itself: structured logs, and tasks that cannot fail unseen."""
