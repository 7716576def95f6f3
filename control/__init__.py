"""What is decided and recorded: flows, executions, approvals, identity."""
