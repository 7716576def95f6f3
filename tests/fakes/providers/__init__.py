"""One small real server that speaks every dialect providers speak, in the shapes they were seen to speak."""
