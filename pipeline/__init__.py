"""How the work flows: from a plan to outcomes, patches and pull requests."""
