"""The dialects, one module each: none imports another."""
