"""The chat systems that `backend.kind` can name: one YAML file each."""
