"""Clients' websockets: who is connected, what each is told and in which form, and what happens to a slow one."""
