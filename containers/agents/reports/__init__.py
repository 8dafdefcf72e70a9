"""What agents print: a module per program that reads its output."""
