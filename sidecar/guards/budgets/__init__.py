"""Budgets of tokens and money: what a request reserves, and what it has used."""
