"""Generated from `proto/penstock/v1`; `make proto` writes these modules and CI compares them."""
