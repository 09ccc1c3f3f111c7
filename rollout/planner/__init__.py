"""From a spec and a fleet to a plan: pure, repeatable, explainable."""
