"""Order picking: which orders are collected on one walk, and the shortest way to walk."""
