"""Lane B: how long to pretrain a nanochat-style GPT, answered from data.

The library behind the Dagster assets in `laneb_assets`. Nothing here imports Dagster, and importing `laneb` itself
imports nothing heavy: each room loads torch, scipy or pandas when it is entered.
"""

__version__ = "0.1.0"
