"""What tests of several kinds share: ports, conditions to wait for, and real Vrata processes."""
