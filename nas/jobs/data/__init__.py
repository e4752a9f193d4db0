"""`nas data …`: one file a verb; a folder of images before anything is trained on it."""
