"""Select: the cheapest candidate within the budget, and the one look at the test split."""
