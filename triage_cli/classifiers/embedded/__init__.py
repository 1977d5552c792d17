"""The classifier that comes with the program: static word vectors and a logistic regression."""
