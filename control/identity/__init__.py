"""Who asks: accounts and people, runtime sessions and what they may do."""
