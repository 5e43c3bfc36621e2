"""What depth costs and what skips give back."""
