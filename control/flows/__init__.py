"""What shall run: flow files, their prompts, their versions."""
