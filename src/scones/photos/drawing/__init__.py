"""Drawing code of our own: bicycles and motorcycles in streets and fields, through a cheap camera."""
