"""Everything between a user's COCO folder and a batch of pixels and boxes."""
