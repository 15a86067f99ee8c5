"""Models of MTP: one flat folder, which is also the code that travels to the Hub."""
