"""register: the winner becomes a version of its data set's model, and its champion."""
