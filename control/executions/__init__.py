"""One run of a flow, from event to verdict."""
