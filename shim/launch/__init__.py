"""How is a program launched under its filter?  The plan, and the launcher of native/ seen from Python."""
