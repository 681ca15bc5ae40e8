"""What requests of an unknown backend look like, observed without their content, and the routes that follow from it."""
