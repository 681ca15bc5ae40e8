"""The chat protocols as data: where texts, token counts and ids are, and how clients read errors."""
