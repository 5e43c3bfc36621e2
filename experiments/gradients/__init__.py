"""What gradients do on their way down."""
