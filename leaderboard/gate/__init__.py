"""Refuse records that contradict themselves or their configuration: no run has such figures."""
