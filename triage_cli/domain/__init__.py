"""Records and rules of the product, without I/O, vendors or a clock."""
