"""Encryption of secrets that are stored in PostgreSQL."""
