"""What Prometheus is told: what has to be counted as it happens, and what is read from the rooms at a scrape."""
