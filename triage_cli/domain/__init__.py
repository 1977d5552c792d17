"""What the product is about: pure records and rules, without I/O, vendor or clock."""
