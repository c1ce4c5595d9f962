"""Who calls: tokens, owners, limits, and whose jobs a call may reach."""
