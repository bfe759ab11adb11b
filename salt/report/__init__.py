"""What a training achieved, read from its evaluation file: numbers, figures and one page."""
