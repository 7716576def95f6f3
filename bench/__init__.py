"""Measurements that anyone can rerun, one per claim of docs/claims.md."""
