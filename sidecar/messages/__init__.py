"""Text in bodies: where it is, how it is cleaned, how it is put back."""
