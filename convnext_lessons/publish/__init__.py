"""What leaves the notebook: slides, poster, handout, website."""
