"""Machinery that knows no word of our domain. Third-party libraries only."""
