"""Workflows and templates: graphs with placeholders, kept by the gateway, each run of which is one job."""
