"""What the gateway costs: requests per second and added latency, against a direct call and a bare proxy.

Everything runs on this machine: a canned upstream, what stands before it, and a load generator, each a process.
"""
