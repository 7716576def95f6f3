"""What a container asks of us that is neither MCP nor a model."""
