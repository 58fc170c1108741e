"""From a recipe to a published build: plan, tasks, and the engine that runs them."""
