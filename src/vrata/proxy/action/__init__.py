"""What a matched route does with a request: forward it, redirect it, or answer it directly."""
