"""How much data, and what buys it back."""
