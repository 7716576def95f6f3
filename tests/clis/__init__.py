"""Agents as their makers ship them, which journeys start as enrolled ones."""
