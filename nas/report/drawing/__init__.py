"""An architecture as a picture: where things stand, how they look, and the drawing."""
