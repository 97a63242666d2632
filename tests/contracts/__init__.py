"""What every implementation of a protocol must do, as functions that run on any of them."""
