"""What a policy would say about one request, with nothing sent and nothing counted."""
