"""What normalizing, dropping and averaging do to a net while it learns, and once it answers."""
