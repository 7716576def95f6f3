"""Agents as their makers ship them, pinned by package.json and its lock: what journeys start as enrolled agents."""
