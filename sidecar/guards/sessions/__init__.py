"""Sessions and the conversations that belong to them."""
