"""Recommend how to upcycle a dense model, from records of runs, published results and costs."""
