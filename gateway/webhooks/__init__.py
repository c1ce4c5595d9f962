"""Webhooks: what happens to jobs, told to receivers elsewhere, at least once and in order per job."""
