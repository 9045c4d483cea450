"""The lab: a small serverless platform of real processes, to try sessions under churn.

It starts, scales, freezes, terminates and kills instances of a small shop behind a front door, sends
simulated browsers through it, and judges what they saw. It is a laboratory instrument: it runs on one
machine, listens on loopback only, and breaks things on purpose. It is neither a production server nor a load
balancer.

It needs the extra `holdfast[lab]`. Nothing is imported here, so that an instance starts fast.
"""
