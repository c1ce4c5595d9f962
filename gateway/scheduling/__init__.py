"""Pure policy: what a job needs, which runner fits, in which order jobs wait, and where they go. No I/O, no asyncio."""
