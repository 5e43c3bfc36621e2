"""Pictures made by nets: the game of two nets, its dynamics, and what it paints."""
