"""Training: recipes, the loop on Accelerate, and the scripts."""
