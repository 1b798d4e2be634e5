"""Stands in until the hash of files lands."""

import hashlib


def code_hash(script, modules=(), files=()):
    """Return a hash."""
    return hashlib.sha256(str(script).encode()).hexdigest()[:8]
