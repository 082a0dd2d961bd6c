"""How work is cut up and run: the plan, the two passes over pixels, and what is decided between them."""
