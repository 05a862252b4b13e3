"""Examples of symhess: each module is a script with a `main()` that runs in under a minute."""
