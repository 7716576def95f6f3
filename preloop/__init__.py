"""Assembly: settings, wiring, commands. The only package that knows every other."""
