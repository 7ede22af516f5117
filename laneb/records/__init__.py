"""What passes between steps: frozen, typed records. Import each from its module."""
