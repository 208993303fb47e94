"""Where things lie in scenes of each class: rules that are honest about the ground, one family a file."""
