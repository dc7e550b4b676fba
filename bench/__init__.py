"""What Penstock costs, beside what people would use instead.

A benchmark is a number that two ways of doing the same work are asked for in turn; `catalogue` lists them, `frame` runs
them. The numbers that a change promises are measured here; whether the work is right is the tests' business.
"""
