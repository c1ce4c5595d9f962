"""The operator's API under ``/gateway/api/``."""
