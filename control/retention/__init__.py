"""How long content is kept, and its end: rules are what a person sets, deletion is what the clock does with them."""
