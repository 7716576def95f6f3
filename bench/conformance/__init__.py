"""The official conformance suite of MCP, run through our endpoint."""
