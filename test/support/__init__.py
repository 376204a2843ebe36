"""What wire, concurrency and differential tests share: starting servers, and speaking the protocol to them."""
