"""Tests, room by room as the packages are; `journeys` are whole runs, `house` checks the plan itself."""
