"""From pictures of a user to what a model finds in them, in their own pixels."""
