"""Which call needs whose yes, and getting it exactly once."""
