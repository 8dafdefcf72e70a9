"""Tasks in containers of a Dagger engine."""
